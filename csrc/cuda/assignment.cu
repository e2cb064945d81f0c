// Linear sum assignment by shortest augmenting paths (Crouse 2016), a block for each problem: one
// warp, or several where the sides are long. All state is in shared memory, and so are the costs
// where they fit, as doubles of which less is better; then the input is read once.
#include "../assignment.h"
#include "blocks.h"

#ifdef __CUDACC__
extern __shared__ __align__(16) unsigned char dynamic_shared[];
#endif

namespace {

using wmscore::AssignmentProblems;
using wmscore::Element;

constexpr int kWarp = 32;
constexpr int kLongThreads = 256;  // where a side is longer than kShort
constexpr int64_t kShort = 128;
// What every device gives a block without being asked, less what the reductions and counts take.
constexpr size_t kSharedBytes = 48 * 1024 - 256;
constexpr unsigned int kAllLanes = 0xffffffffu;

__device__ __forceinline__ double infinity() { return static_cast<double>(INFINITY); }

// The column that is next: its distance, and its rank with its place in the list of those left.
struct Next {
  double distance;
  int key;
};

__device__ __forceinline__ int key_of(int rank, int place) { return rank << 11 | place; }
__device__ __forceinline__ int place_of(int key) { return key & 2047; }

__device__ __forceinline__ Next nearer(const Next& a, const Next& b) {
  if (a.distance != b.distance) return a.distance < b.distance ? a : b;
  return a.key > b.key ? a : b;
}

template <int kThreads>
__device__ __forceinline__ void sync() {
  if constexpr (kThreads == kWarp) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

// The same for all threads; the order plays no part, since all keys differ.
template <int kThreads>
__device__ __forceinline__ Next reduce(Next next) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const double distance = __shfl_xor_sync(kAllLanes, next.distance, step);
    const int key = __shfl_xor_sync(kAllLanes, next.key, step);
    next = nearer(next, Next{distance, key});
  }
  if constexpr (kThreads > kWarp) {
    __shared__ double distances[kThreads / kWarp];
    __shared__ int keys[kThreads / kWarp];
    if (threadIdx.x % kWarp == 0) {
      distances[threadIdx.x / kWarp] = next.distance;
      keys[threadIdx.x / kWarp] = next.key;
    }
    __syncthreads();
    for (int warp = 0; warp < kThreads / kWarp; ++warp) {
      next = nearer(next, Next{distances[warp], keys[warp]});
    }
    // The barrier before the next reduction keeps these until all have read them.
  }
  return next;
}

// Shared memory of one problem: arrays of so many members of the shorter and of the longer side.
struct State {
  double* cost;      // [few, many], or null
  double* row_dual;  // [few]
  double* col_dual;  // [many]
  double* nearest;   // [many]
  int16_t* row_of_col;
  int16_t* via;
  int16_t* left;  // columns, those not yet reached first
  int16_t* col_of_row;
  int16_t* rows;  // members in use
  int16_t* cols;

  __host__ __device__ static int64_t bytes(int64_t rows, int64_t cols) {
    const int64_t many = rows > cols ? rows : cols, few = rows > cols ? cols : rows;
    return (few + 2 * many) * sizeof(double) + (3 * many + few + rows + cols) * sizeof(int16_t);
  }

  __device__ State(unsigned char* memory, int64_t rows_length, int64_t cols_length,
                   bool holds_costs) {
    const int64_t many = rows_length > cols_length ? rows_length : cols_length;
    const int64_t few = rows_length > cols_length ? cols_length : rows_length;
    double* next = reinterpret_cast<double*>(memory);
    cost = holds_costs ? next : nullptr;
    if (holds_costs) next += few * many;
    row_dual = next;
    col_dual = row_dual + few;
    nearest = col_dual + many;
    row_of_col = reinterpret_cast<int16_t*>(nearest + many);
    via = row_of_col + many;
    left = via + many;
    col_of_row = left + many;
    rows = col_of_row + few;
    cols = rows + rows_length;
  }
};

// Lists the members in use, in order; all threads of the first warp. Returns how many they are.
__device__ __forceinline__ int list_members(const bool* use, int length, int16_t* members) {
  int count = 0;
  for (int start = 0; start < length; start += kWarp) {
    const int member = start + static_cast<int>(threadIdx.x);
    const bool is_used = member < length && (use == nullptr || use[member]);
    const unsigned int used = __ballot_sync(kAllLanes, is_used);
    if (is_used) {
      members[count + __popc(used & ((1u << threadIdx.x) - 1))] = static_cast<int16_t>(member);
    }
    count += __popc(used);
  }
  return count;
}

template <typename T>
struct Costs {
  const T* data;
  int64_t few_stride, many_stride;
  const int16_t *few, *many;
  bool maximize;

  __device__ double operator()(int i, int j) const {
    return wmscore::cost_of(data[few[i] * few_stride + many[j] * many_stride], maximize,
                            infinity());
  }
};

// Adds one row to the matching, along the shortest augmenting path. Rows are no more than columns.
template <int kThreads, typename T>
__device__ void add(const State& state, const Costs<T>& costs, int row, int cols) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int place = thread; place < cols; place += kThreads) {
    state.left[place] = static_cast<int16_t>(cols - 1 - place);
    state.nearest[place] = infinity();
  }
  int waiting = cols, at = row, sink = -1;
  double distance = 0;
  while (sink < 0) {
    sync<kThreads>();
    const double dual = state.row_dual[at];
    Next next = {infinity(), -1};
    for (int place = thread; place < waiting; place += kThreads) {
      const int col = state.left[place];
      const double cost = state.cost != nullptr ? state.cost[at * cols + col] : costs(at, col);
      const double length = distance + cost - dual - state.col_dual[col];
      double nearest = state.nearest[col];
      if (length < nearest) {
        nearest = length;
        state.nearest[col] = length;
        state.via[col] = static_cast<int16_t>(at);
      }
      const int rank = wmscore::rank_of(state.row_of_col[col] < 0, place, cols);
      next = nearer(next, Next{nearest, key_of(rank, place)});
    }
    next = reduce<kThreads>(next);
    if (next.distance == infinity()) {  // no partner without leaving an earlier row alone
      sync<kThreads>();
      return;
    }
    distance = next.distance;
    const int place = place_of(next.key);
    const int col = state.left[place];
    const int owner = state.row_of_col[col];
    --waiting;
    sync<kThreads>();  // all have read the list
    if (thread == 0) {
      state.left[place] = state.left[waiting];
      state.left[waiting] = static_cast<int16_t>(col);
    }
    if (owner < 0) {
      sink = col;
    } else {
      at = owner;
    }
  }
  sync<kThreads>();
  for (int place = waiting + thread; place < cols; place += kThreads) {
    const int col = state.left[place];
    const double gain = distance - state.nearest[col];
    state.col_dual[col] -= gain;
    if (col != sink) state.row_dual[state.row_of_col[col]] += gain;
  }
  sync<kThreads>();
  if (thread == 0) {
    state.row_dual[row] += distance;
    int col = sink;
    int owner;
    do {
      owner = state.via[col];
      state.row_of_col[col] = static_cast<int16_t>(owner);
      const int before = state.col_of_row[owner];
      state.col_of_row[owner] = static_cast<int16_t>(col);
      col = before;
    } while (owner != row);
  }
  sync<kThreads>();
}

template <typename T, int kThreads>
__global__ void __launch_bounds__(kThreads)
    match_problems(AssignmentProblems problems, int64_t count, bool maximize, bool holds_costs,
                   int64_t* match) {
  __shared__ int counts[2];
  const State state(dynamic_shared, problems.rows, problems.cols, holds_costs);
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t problem = blockIdx.x; problem < count; problem += gridDim.x) {
    int64_t* const out = match + problem * problems.rows;
    for (int row = thread; row < problems.rows; row += kThreads) out[row] = -1;
    if (thread < kWarp) {
      const int rows =
          list_members(problems.use_rows ? problems.use_rows + problem * problems.rows : nullptr,
                       static_cast<int>(problems.rows), state.rows);
      const int cols =
          list_members(problems.use_cols ? problems.use_cols + problem * problems.cols : nullptr,
                       static_cast<int>(problems.cols), state.cols);
      if (thread == 0) {
        counts[0] = rows;
        counts[1] = cols;
      }
    }
    sync<kThreads>();
    const bool is_tall = counts[0] > counts[1];
    const int few = is_tall ? counts[1] : counts[0], many = is_tall ? counts[0] : counts[1];
    const Costs<T> costs = {static_cast<const T*>(problems.data) + problem * problems.problem,
                            is_tall ? problems.col : problems.row,
                            is_tall ? problems.row : problems.col,
                            is_tall ? state.cols : state.rows,
                            is_tall ? state.rows : state.cols,
                            maximize};
    if (holds_costs) {
      // Neighbours in memory go to neighbouring threads.
      const int cols = counts[1];
      for (int i = thread; i < few * many; i += kThreads) {
        const int row = i / cols, col = i - row * cols;
        const int at = is_tall ? col : row, to = is_tall ? row : col;
        state.cost[at * many + to] = costs(at, to);
      }
    }
    for (int i = thread; i < many; i += kThreads) {
      state.col_dual[i] = 0;
      state.row_of_col[i] = -1;
      if (i >= few) continue;
      state.row_dual[i] = 0;
      state.col_of_row[i] = -1;
    }
    sync<kThreads>();
    for (int row = 0; row < few; ++row) add<kThreads>(state, costs, row, many);
    for (int i = thread; i < few; i += kThreads) {
      const int partner = state.col_of_row[i];
      if (partner < 0) continue;
      out[is_tall ? costs.many[partner] : costs.few[i]] =
          is_tall ? costs.few[i] : costs.many[partner];
    }
    sync<kThreads>();  // the next problem writes the state again
  }
}

template <typename T>
cudaError_t run(const AssignmentProblems& problems, int64_t count, bool maximize, int64_t* match,
                void* stream) {
  if (count == 0 || problems.rows == 0) return cudaSuccess;
  if (problems.rows > wmscore::kLongestSide || problems.cols > wmscore::kLongestSide) {
    return cudaErrorInvalidValue;
  }
  const size_t state = static_cast<size_t>(State::bytes(problems.rows, problems.cols));
  const size_t costs = static_cast<size_t>(problems.rows * problems.cols) * sizeof(double);
  const bool holds_costs = state + costs <= kSharedBytes;
  const bool is_short = problems.rows <= kShort && problems.cols <= kShort;
  constexpr int64_t kMostBlocks = 0x7fffffff;  // of a grid; the kernel strides over the rest
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned int>(count < kMostBlocks ? count : kMostBlocks));
  config.blockDim = dim3(is_short ? kWarp : kLongThreads);
  config.dynamicSmemBytes = holds_costs ? state + costs : state;
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaLaunchKernelEx(
      &config, is_short ? match_problems<T, kWarp> : match_problems<T, kLongThreads>, problems,
      count, maximize, holds_costs, match);
  cudaGetLastError();  // clear it: it is returned
  return error;
}

}  // namespace

int32_t wmscore_assignment_cuda(Element element, AssignmentProblems problems, int64_t count,
                                bool maximize, int64_t* match, void* stream) {
  if (element == Element::kFloat32) return run<float>(problems, count, maximize, match, stream);
  if (element == Element::kFloat64) return run<double>(problems, count, maximize, match, stream);
  return cudaErrorInvalidValue;
}
