// How a fuzzer changes an input that has JSON in it: as JSON, so that the reader behind the parser is reached, too. Linked into every
// target that clang makes (libFuzzer's custom mutator); an input without JSON is changed byte by byte, as ever.
//
// The JSON may stand anywhere in the input: behind a byte of settings, in an HTTP request. It grows and shrinks, so an input tells
// its parts by separators and not by lengths.
#pragma once
#include <stddef.h>
#include <stdint.h>

// libFuzzer's names. Both change `data` in place, which has room for `max_size` bytes, and give the new size, `max_size` at most.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size); // the bytewise one
