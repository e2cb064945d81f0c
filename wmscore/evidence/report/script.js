"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const all = (query, from = document) => [...from.querySelectorAll(query)];
  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Theme: as the system has it, or chosen; the choice is kept where the browser lets a page do so.
  const theme = document.getElementById("theme");
  const THEMES = ["auto", "light", "dark"];
  const keep = (value) => { try { localStorage.setItem("wmscore-theme", value); } catch { /* not from a disk */ } };
  const kept = () => { try { return localStorage.getItem("wmscore-theme"); } catch { return null; } };
  const setTheme = (value) => {
    if (value === "auto") delete root.dataset.theme; else root.dataset.theme = value;
    theme.replaceChildren(make("span", "word", "Theme: "), make("span", "", value));
    theme.setAttribute("aria-label", `Theme: ${value}`);
    theme.dataset.value = value;
  };
  theme.hidden = false;
  setTheme(THEMES.includes(kept()) ? kept() : "auto");
  theme.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(theme.dataset.value) + 1) % THEMES.length];
    setTheme(next);
    keep(next);
  });

  // Navigation says where one is.
  const links = new Map(all("nav li a").map((a) => [a.getAttribute("href").slice(1), a]));
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) seen.add(entry.target.id); else seen.delete(entry.target.id);
    }
    const here = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) {
      if (id === here) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-15% 0px -60% 0px" });
  all("section").forEach((section) => watcher.observe(section));

  // Tables.
  const rank = (cell) => {
    const text = cell.hasAttribute("data-key") ? cell.dataset.key : cell.textContent.trim();
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };
  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const body = table.tBodies[0];
        const rows = [...body.rows];
        const numbers = rows.some((row) => typeof rank(row.cells[column]) === "number");
        const before = head.getAttribute("aria-sort");
        const up = before ? before === "descending" : !numbers;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const place = rows.map((row) => [rank(row.cells[column]), row]);
        place.sort(([a], [b]) => {
          if (a === "" || b === "") return a === b ? 0 : a === "" ? 1 : -1;
          const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
          return up ? order : -order;
        });
        body.append(...place.map(([, row]) => row));
      });
    });
  }
  for (const input of all("input.filter")) {
    const table = input.closest("label").parentElement.querySelector("table");
    const output = input.parentElement.querySelector("output");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = [...table.tBodies[0].rows];
      let left = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const fits = words.every((word) => text.includes(word));
        row.classList.toggle("hidden", !fits);
        left += fits ? 1 : 0;
      }
      output.textContent = `${left} of ${rows.length}`;
    });
  }

  // Legends hide a model in every chart, and bring it out under the pointer.
  const hidden = new Set();
  const series = new Map();
  for (const group of all("[data-m]")) {
    const list = series.get(group.dataset.m) || [];
    list.push(group);
    series.set(group.dataset.m, list);
  }
  for (const chip of all("[data-toggle]")) {
    const key = chip.dataset.toggle;
    const groups = series.get(key) || [];
    const bring = (on) => {
      document.body.classList.toggle("emphasis", on && !hidden.has(key));
      groups.forEach((group) => group.classList.toggle("strong", on));
    };
    chip.addEventListener("click", () => {
      if (hidden.has(key)) hidden.delete(key); else hidden.add(key);
      groups.forEach((group) => group.classList.toggle("off", hidden.has(key)));
      all(`[data-toggle="${key}"]`).forEach((c) => c.setAttribute("aria-pressed", String(!hidden.has(key))));
      bring(false);
    });
    chip.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") bring(true); });
    chip.addEventListener("pointerleave", () => bring(false));
    chip.addEventListener("focus", () => { if (chip.matches(":focus-visible")) bring(true); });
    chip.addEventListener("blur", () => bring(false));
  }

  // Values under the pointer, or at the place that arrow keys choose.
  const tip = document.getElementById("tip");
  const write = (value) => (value === null || value === undefined ? "undefined" : String(Number(value.toPrecision(3))));
  const plots = new Map();
  let again = null;
  for (const plot of all(".plot")) {
    const data = JSON.parse(plot.querySelector("script.data").textContent);
    const svg = plot.querySelector("svg");
    const cursor = svg.querySelector(".cursor");
    const first = data.x[0];
    const span = data.x[data.x.length - 1] - first;
    let place = -1;
    const at = (i) => (span ? (data.x[i] - first) / span : 0.5);
    const mark = (i) => {
      place = i;
      cursor.setAttribute("x1", `${100 * at(i)}%`);
      cursor.setAttribute("x2", `${100 * at(i)}%`);
      cursor.style.visibility = "visible";
    };
    const nearest = (x) => {
      const box = svg.getBoundingClientRect();
      const part = (x - box.left) / (box.width || 1);
      let best = 0;
      data.x.forEach((_, i) => { if (Math.abs(at(i) - part) < Math.abs(at(best) - part)) best = i; });
      return best;
    };
    const show = (i, x, y) => {
      mark(i);
      tip.replaceChildren(make("b", "", `${data.label} ${data.names ? data.names[i] : write(data.x[i])}`));
      const lines = data.lines.filter((line) => !hidden.has(String(line.m)));
      lines.sort((a, b) => (b.y[i] ?? -Infinity) - (a.y[i] ?? -Infinity));
      for (const line of lines.slice(0, 12)) {
        const row = make("div");
        const band = line.lo && line.lo[i] !== null && line.hi[i] !== null ? ` ${write(line.lo[i])} to ${write(line.hi[i])}` : "";
        row.append(make("span", `swatch ${line.look}`), make("span", "", line.name), make("span", "", write(line.y[i])));
        if (band) row.append(make("small", "", band));
        tip.append(row);
      }
      if (lines.length > 12) tip.append(make("small", "", `and ${lines.length - 12} more`));
      tip.hidden = false;
      const box = tip.getBoundingClientRect();
      const left = x + 18 + box.width > innerWidth - 8 ? x - box.width - 18 : x + 18;
      tip.style.left = `${Math.max(8, Math.min(left, innerWidth - box.width - 8))}px`;
      tip.style.top = `${Math.max(8, Math.min(y - box.height / 2, innerHeight - box.height - 8))}px`;
    };
    const hide = () => {
      again = null;
      tip.hidden = true;
      if (!plot.dataset.follow) cursor.style.visibility = "hidden";
    };
    plot.addEventListener("pointermove", (event) => { again = null; show(nearest(event.clientX), event.clientX, event.clientY); });
    plot.addEventListener("pointerdown", (event) => show(nearest(event.clientX), event.clientX, event.clientY));
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const last = data.x.length - 1;
      const go = { ArrowLeft: place < 0 ? last : place - 1, ArrowRight: place + 1, Home: 0, End: last }[event.key];
      if (event.key === "Escape") hide();
      if (go === undefined) return;
      event.preventDefault();
      const i = Math.max(0, Math.min(last, go));
      const put = () => {
        const box = svg.getBoundingClientRect();
        show(i, box.left + at(i) * box.width, box.top + box.height / 2);
      };
      put();
      again = put; // what the keyboard chose stays while the page scrolls to it
    });
    plots.set(plot, { data, mark, nearest });
  }
  addEventListener("scroll", () => { if (again) again(); else tip.hidden = true; }, { passive: true });

  // Players.
  for (const film of all(".film")) {
    const steps = all(".step", film);
    const strip = film.querySelector(".strip");
    const seek = film.querySelector(".seek");
    const play = film.querySelector(".play");
    const now = film.querySelector(".now");
    const failure = Number(film.dataset.failure);
    const plot = film.querySelector(".plot");
    const drawn = plot && plots.get(plot);
    let place = Math.max(0, steps.findIndex((step) => step.getAttribute("aria-selected") === "true"));
    let timer = null;
    const frames = all(".screen img.frame", film);
    const layers = all(".screen img.over", film);
    const source = (step, name) => { const img = step.querySelector(name); return img ? img.getAttribute("src") : ""; };

    const show = (i, focus = false) => {
      place = Math.max(0, Math.min(steps.length - 1, i));
      const step = steps[place];
      const number = Number(step.dataset.step);
      for (const img of frames) img.src = source(step, `.thumb.${img.dataset.side}`);
      for (const img of layers) {
        const src = source(step, `.thumb.${img.dataset.side}-lines`);
        img.hidden = !src;
        if (src) img.src = src;
      }
      steps.forEach((other, k) => {
        other.setAttribute("aria-selected", String(k === place));
        other.tabIndex = k === place ? 0 : -1;
      });
      const action = step.dataset.action;
      now.replaceChildren(`Step ${number} of ${steps[steps.length - 1].dataset.step}`);
      if (action) now.append(` · after ${action}`);
      if (number === failure) now.append(" · ", make("span", "bad", "the failure starts here"));
      seek.value = number;
      seek.setAttribute("aria-valuetext", now.textContent);
      const left = step.offsetLeft - strip.offsetLeft;
      if (left < strip.scrollLeft || left + step.offsetWidth > strip.scrollLeft + strip.clientWidth) {
        strip.scrollLeft = left - (strip.clientWidth - step.offsetWidth) / 2;
      }
      if (drawn) {
        plot.dataset.follow = "1";
        const at = drawn.data.x.indexOf(number);
        if (at >= 0) drawn.mark(at);
      }
      if (focus) step.focus({ preventScroll: true });
    };
    const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
    const toggle = () => {
      if (timer) { stop(); return; }
      play.textContent = "Pause";
      const pause = 1000 / Math.max(2, Math.min(30, Number(film.dataset.fps) || 10));
      timer = setInterval(() => show((place + 1) % steps.length), pause);
    };
    const toStep = (number) => {
      let best = 0;
      steps.forEach((step, i) => {
        if (Math.abs(step.dataset.step - number) < Math.abs(steps[best].dataset.step - number)) best = i;
      });
      return best;
    };
    play.addEventListener("click", toggle);
    film.querySelector(".back").addEventListener("click", () => { stop(); show(place - 1); });
    film.querySelector(".on").addEventListener("click", () => { stop(); show(place + 1); });
    film.querySelector(".failure").addEventListener("click", () => { stop(); show(toStep(failure)); });
    seek.addEventListener("input", () => { stop(); show(toStep(Number(seek.value))); });
    strip.addEventListener("click", (event) => {
      const step = event.target.closest(".step");
      if (step) { stop(); show(steps.indexOf(step), true); }
    });
    strip.addEventListener("keydown", (event) => {
      const go = { ArrowLeft: place - 1, ArrowRight: place + 1, ArrowUp: place - 1, ArrowDown: place + 1, Home: 0, End: steps.length - 1 }[event.key];
      if (event.key === " " || event.key === "Enter") { event.preventDefault(); toggle(); return; }
      if (go === undefined) return;
      event.preventDefault();
      stop();
      show(go, true);
    });
    const outlines = film.querySelector(".outlines");
    if (outlines) outlines.addEventListener("change", () => film.classList.toggle("plain", !outlines.checked));
    if (drawn) plot.addEventListener("click", (event) => { stop(); show(toStep(drawn.data.x[drawn.nearest(event.clientX)])); });
    show(place);
  }
})();
