// Batch normalization and ReLU in one pass over bfloat16 rows, for training on a CPU: see fused.py.
//
// A row holds the channels of one pixel; a matrix of rows may be a part of the columns of a wider one. Sums are in
// float32 over BLOCK rows and in float64 over the blocks.
// Only what is used: torch/extension.h takes three times as long to compile.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <vector>

using at::Tensor;

namespace {

constexpr int64_t BLOCK = 64;
constexpr double EPSILON = 1e-5;  // BatchNorm2d's own

inline float widen(uint16_t value) {
    uint32_t bits = uint32_t(value) << 16;
    float wide;
    std::memcpy(&wide, &bits, 4);
    return wide;
}

inline uint16_t round_to_bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

struct Rows {
    uint16_t* data;
    int64_t count, channels, stride;
    explicit Rows(const Tensor& matrix)
        : data(static_cast<uint16_t*>(matrix.data_ptr())),
          count(matrix.size(0)), channels(matrix.size(1)), stride(matrix.stride(0)) {
        TORCH_CHECK(matrix.scalar_type() == at::kBFloat16 && matrix.dim() == 2 && matrix.stride(1) == 1);
    }
    uint16_t* operator[](int64_t row) const { return data + row * stride; }
};

// Batch normalization as x * scale + shift.
struct Affine {
    std::vector<float> scale, shift;
    Affine(int64_t channels, const Tensor& mean, const Tensor& variance, const Tensor& gamma, const Tensor& beta)
        : scale(channels), shift(channels) {
        const float *m = mean.data_ptr<float>(), *v = variance.data_ptr<float>();
        const float *g = gamma.data_ptr<float>(), *b = beta.data_ptr<float>();
        for (int64_t c = 0; c < channels; c++) {
            scale[c] = g[c] / std::sqrt(v[c] + float(EPSILON));
            shift[c] = b[c] - m[c] * scale[c];
        }
    }
};

// Add up two values for each channel of each row: add(row, first, second).
template <typename Add>
std::vector<double> sums(int64_t rows, int64_t channels, Add add) {
    std::vector<double> total(2 * channels, 0.0);
    std::vector<float> block(2 * channels);
    for (int64_t start = 0; start < rows; start += BLOCK) {
        std::fill(block.begin(), block.end(), 0.f);
        for (int64_t row = start; row < std::min(rows, start + BLOCK); row++) add(row, block.data(), block.data() + channels);
        for (int64_t c = 0; c < 2 * channels; c++) total[c] += block[c];
    }
    return total;
}

}  // namespace

// Write each channel's mean and biased variance.
void statistics(const Tensor& matrix, Tensor mean, Tensor variance) {
    const Rows x(matrix);
    const auto total = sums(x.count, x.channels, [&](int64_t row, float* __restrict first, float* __restrict second) {
        const uint16_t* __restrict in = x[row];
        for (int64_t c = 0; c < x.channels; c++) {
            const float value = widen(in[c]);
            first[c] += value;
            second[c] += value * value;
        }
    });
    for (int64_t c = 0; c < x.channels; c++) {
        const double average = total[c] / x.count;
        mean.data_ptr<float>()[c] = float(average);
        variance.data_ptr<float>()[c] = float(std::max(0.0, total[x.channels + c] / x.count - average * average));
    }
}

// out = relu(normalize(x))
void forward(const Tensor& matrix, const Tensor& mean, const Tensor& variance, const Tensor& gamma,
             const Tensor& beta, Tensor output) {
    const Rows x(matrix), out(output);
    const Affine affine(x.channels, mean, variance, gamma, beta);
    const float *__restrict scale = affine.scale.data(), *__restrict shift = affine.shift.data();
    for (int64_t row = 0; row < x.count; row++) {
        const uint16_t* __restrict in = x[row];
        uint16_t* __restrict to = out[row];
        for (int64_t c = 0; c < x.channels; c++) to[c] = round_to_bf16(std::max(0.f, widen(in[c]) * scale[c] + shift[c]));
    }
}

// out += the gradient of x, given that of relu(normalize(x)); returns the gradients of gamma and beta.
std::tuple<Tensor, Tensor> backward(const Tensor& gradient, const Tensor& matrix, const Tensor& mean,
                                    const Tensor& variance, const Tensor& gamma, const Tensor& beta, Tensor output) {
    const Rows x(matrix), g(gradient), out(output);
    const int64_t channels = x.channels;
    const Affine affine(channels, mean, variance, gamma, beta);
    const float *__restrict scale = affine.scale.data(), *__restrict shift = affine.shift.data();
    const auto total = sums(x.count, channels, [&](int64_t row, float* __restrict first, float* __restrict second) {
        const uint16_t *__restrict in = x[row], *__restrict from = g[row];
        for (int64_t c = 0; c < channels; c++) {
            const float value = widen(in[c]);
            const float passed = value * scale[c] + shift[c] > 0.f ? widen(from[c]) : 0.f;
            first[c] += passed;
            second[c] += passed * value;
        }
    });
    Tensor for_gamma = at::empty({channels}), for_beta = at::empty({channels});
    std::vector<float> slopes(channels), constants(channels);
    for (int64_t c = 0; c < channels; c++) {
        const double average = mean.data_ptr<float>()[c];
        const double inverse = 1 / std::sqrt(double(variance.data_ptr<float>()[c]) + EPSILON);
        const double of_gamma = (total[channels + c] - total[c] * average) * inverse;
        for_gamma.data_ptr<float>()[c] = float(of_gamma);
        for_beta.data_ptr<float>()[c] = float(total[c]);
        slopes[c] = float(-scale[c] * inverse * of_gamma / x.count);
        constants[c] = float(-scale[c] * total[c] / x.count - double(slopes[c]) * average);
    }
    const float *__restrict slope = slopes.data(), *__restrict constant = constants.data();
    for (int64_t row = 0; row < x.count; row++) {
        const uint16_t *__restrict in = x[row], *__restrict from = g[row];
        uint16_t* __restrict to = out[row];
        for (int64_t c = 0; c < channels; c++) {
            const float value = widen(in[c]);
            const float passed = value * scale[c] + shift[c] > 0.f ? widen(from[c]) * scale[c] : 0.f;
            to[c] = round_to_bf16(widen(to[c]) + passed + slope[c] * value + constant[c]);
        }
    }
    return {for_gamma, for_beta};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
    module.def("statistics", &statistics);
    module.def("forward", &forward);
    module.def("backward", &backward);
}
