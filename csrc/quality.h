// What the kernels of frame_quality agree on.
#pragma once

namespace wmscore {

enum QualityColumn : int {
  kRed,
  kGreen,
  kBlue,
  kRedRed,
  kGreenGreen,
  kBlueBlue,
  kRedGreen,
  kGreenBlue,
  kBlueRed,
  kChroma,
  kLow,
  kHigh,
  kGradient,
  kLaplacian,
  kBorder,
  kInner,
  kAbsoluteChange,
  kSquaredChange,
  kQualityColumns
};

// Luma is kLumaRed R + kLumaGreen G + kLumaBlue B: at most 65280 for uint8, which fits 16 bits.
constexpr int kLumaRed = 77;
constexpr int kLumaGreen = 150;
constexpr int kLumaBlue = 29;
static_assert(kLumaRed + kLumaGreen + kLumaBlue == 256);

// Side of the grid cells whose borders blocking shows at.
constexpr int kGrid = 8;

}  // namespace wmscore
