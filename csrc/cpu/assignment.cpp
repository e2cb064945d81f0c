// Linear sum assignment by shortest augmenting paths (Crouse 2016), one problem after another.
#include "../assignment.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace {

using wmscore::AssignmentProblems;
using wmscore::Element;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Members in use, in order.
void list_members(const bool* use, int64_t length, std::vector<int>& members) {
  members.clear();
  for (int64_t i = 0; i < length; ++i) {
    if (use == nullptr || use[i]) members.push_back(static_cast<int>(i));
  }
}

// One problem with no more rows than columns, and the matching of its rows so far.
class Matching {
 public:
  // The costs, to be written: [rows, cols].
  std::vector<double>& start(int rows, int cols) {
    rows_ = rows;
    cols_ = cols;
    cost_.resize(static_cast<size_t>(rows) * cols);
    row_dual_.assign(rows, 0);
    col_dual_.assign(cols, 0);
    row_of_col_.assign(cols, -1);
    col_of_row_.assign(rows, -1);
    nearest_.resize(cols);
    via_.resize(cols);
    left_.resize(cols);
    return cost_;
  }

  void solve() {
    for (int row = 0; row < rows_; ++row) add(row);
  }

  int col_of(int row) const { return col_of_row_[row]; }

 private:
  // Columns wait in left_[0 .. waiting), at first backwards. One that is reached changes places
  // with the last of them.
  void add(int row) {
    for (int place = 0; place < cols_; ++place) left_[place] = cols_ - 1 - place;
    std::fill(nearest_.begin(), nearest_.end(), kInfinity);
    int waiting = cols_;
    int at = row;
    int sink = -1;
    double distance = 0;
    while (sink < 0) {
      const int place = reach(at, distance, waiting);
      const int col = left_[place];
      if (nearest_[col] == kInfinity) return;  // no partner without leaving an earlier row alone
      distance = nearest_[col];
      std::swap(left_[place], left_[--waiting]);
      if (row_of_col_[col] < 0) {
        sink = col;
      } else {
        at = row_of_col_[col];
      }
    }
    row_dual_[row] += distance;
    for (int place = waiting; place < cols_; ++place) {
      const int col = left_[place];
      const double gain = distance - nearest_[col];
      col_dual_[col] -= gain;
      if (col != sink) row_dual_[row_of_col_[col]] += gain;
    }
    int col = sink;
    int owner;
    do {
      owner = via_[col];
      row_of_col_[col] = owner;
      std::swap(col_of_row_[owner], col);
    } while (owner != row);
  }

  // Goes on from row `at`; returns the place of the column that is next.
  int reach(int at, double distance, int waiting) {
    const double* const cost = cost_.data() + static_cast<size_t>(at) * cols_;
    const double dual = row_dual_[at];
    double least = kInfinity;
    int best = 0;
    int best_rank = -1;
    for (int place = 0; place < waiting; ++place) {
      const int col = left_[place];
      const double length = distance + cost[col] - dual - col_dual_[col];
      if (length < nearest_[col]) {
        nearest_[col] = length;
        via_[col] = at;
      }
      if (nearest_[col] > least) continue;
      const int rank = wmscore::rank_of(row_of_col_[col] < 0, place, cols_);
      if (nearest_[col] < least || rank > best_rank) {
        least = nearest_[col];
        best = place;
        best_rank = rank;
      }
    }
    return best;
  }

  int rows_ = 0;
  int cols_ = 0;
  std::vector<double> cost_, row_dual_, col_dual_, nearest_;
  std::vector<int> row_of_col_, col_of_row_, via_, left_;
};

template <typename T>
void run(const AssignmentProblems& problems, bool maximize, int64_t first, int64_t last,
         int64_t* match) {
  Matching matching;
  std::vector<int> rows, cols;
  for (int64_t problem = first; problem < last; ++problem) {
    int64_t* const out = match + problem * problems.rows;
    std::fill(out, out + problems.rows, -1);
    list_members(problems.use_rows ? problems.use_rows + problem * problems.rows : nullptr,
                 problems.rows, rows);
    list_members(problems.use_cols ? problems.use_cols + problem * problems.cols : nullptr,
                 problems.cols, cols);
    const bool is_tall = rows.size() > cols.size();
    const std::vector<int>& few = is_tall ? cols : rows;
    const std::vector<int>& many = is_tall ? rows : cols;
    if (few.empty()) continue;
    const int64_t few_stride = is_tall ? problems.col : problems.row;
    const int64_t many_stride = is_tall ? problems.row : problems.col;
    const T* const data = static_cast<const T*>(problems.data) + problem * problems.problem;
    double* cost =
        matching.start(static_cast<int>(few.size()), static_cast<int>(many.size())).data();
    for (const int i : few) {
      for (const int j : many) {
        *cost++ = wmscore::cost_of(data[i * few_stride + j * many_stride], maximize, kInfinity);
      }
    }
    matching.solve();
    for (size_t i = 0; i < few.size(); ++i) {
      const int partner = matching.col_of(static_cast<int>(i));
      if (partner < 0) continue;
      if (is_tall) {
        out[many[partner]] = few[i];
      } else {
        out[few[i]] = many[partner];
      }
    }
  }
}

}  // namespace

void wmscore_assignment_cpu(Element element, AssignmentProblems problems, bool maximize,
                            int64_t first, int64_t last, int64_t* match) {
  if (element == Element::kFloat32) run<float>(problems, maximize, first, last, match);
  if (element == Element::kFloat64) run<double>(problems, maximize, first, last, match);
}
