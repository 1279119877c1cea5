// Operators of ours around oneDNN's convolutions, for passes_convolution.cpp to put into graphs. Includes no LibTorch.
//
//   shoal::fold_batch_norm_weight, fold_batch_norm_bias   a convolution's weight and bias with the batch norm after it
//   shoal::pack_convolution_weight                         a weight's packing, made once at load
//   shoal::convolution, convolution_add                    convolution (+ residual) + activation, channels last
//
// They work in channels last, in which oneDNN and our kernels are fastest; an input in another layout is converted. The
// packing says who convolves: our kernels (convolution_kernels.hpp) where one image is little work and one thread does
// it, else oneDNN, whose packing is private to it. Errors are exceptions of LibTorch, which the program turns into
// errors of the node.
#pragma once

namespace shoal::executor {

/// Makes the operators known to LibTorch's dispatcher; the first call does it. Any thread.
void register_convolution_operators();

}  // namespace shoal::executor
