/* The bytes of a program moved and nothing else: what its time is compared with.

   Reads `reads` lines of 64 bytes and writes `writes`, line by line in turns where `chunk` is 1, else so many of each at
   a time; whatever is left over at the end. With `streaming`, stores go past the caches. */

#include <stdint.h>
#include <stdlib.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

enum { LINE = 64, HUGE_PAGE = 1 << 21 };

typedef uint64_t line __attribute__((vector_size(LINE)));

static inline void stream(line *to, line value)
{
#if defined(__AVX512F__)
    _mm512_stream_si512((void *)to, (__m512i)value);
#elif defined(__SSE2__)
    union { line whole; __m128i parts[4]; } v = {value};
    for (int k = 0; k < 4; ++k)
        _mm_stream_si128((__m128i *)to + k, v.parts[k]);
#else
    *to = value;
#endif
}

static line sum(const line *from, int64_t count)
{
    line a = {0}, b = {0}, c = {0}, d = {0};
    int64_t i = 0;
    for (; i + 4 <= count; i += 4) {
        a += from[i];
        b += from[i + 1];
        c += from[i + 2];
        d += from[i + 3];
    }
    for (; i < count; ++i)
        a += from[i];
    return a + b + c + d;
}

static void fill(line *to, line value, int64_t count, int streaming)
{
    if (streaming)
        for (int64_t i = 0; i < count; ++i)
            stream(to + i, value);
    else
        for (int64_t i = 0; i < count; ++i)
            to[i] = value;
}

static void copy(line *to, const line *from, int64_t count, int streaming)
{
    if (streaming)
        for (int64_t i = 0; i < count; ++i)
            stream(to + i, from[i]);
    else
        for (int64_t i = 0; i < count; ++i)
            to[i] = from[i];
}

static uint64_t move(const line *from, int64_t reads, line *to, int64_t writes, int64_t chunk, int streaming)
{
    line total = {0};
    const int64_t both = reads < writes ? reads : writes, steps = (both + chunk - 1) / chunk;
    if (chunk == 1) {
        copy(to, from, both, streaming);
        total = sum(from + both, reads - both);
        fill(to + both, total, writes - both, streaming);
    } else {
        for (int64_t k = 0; k < steps; ++k) {
            const int64_t r0 = reads * k / steps, w0 = writes * k / steps;
            total += sum(from + r0, reads * (k + 1) / steps - r0);
            fill(to + w0, total, writes * (k + 1) / steps - w0, streaming);
        }
        if (steps == 0) {
            total = sum(from, reads);
            fill(to, total, writes, streaming);
        }
    }
    return total[0];
}

uint64_t run(const line *from, int64_t reads, line *to, int64_t writes, int64_t chunk, int streaming, int threads,
             int64_t repeats)
{
    uint64_t total = 0;
    for (int64_t k = 0; k < repeats; ++k) {
        if (threads == 1)
            total += move(from, reads, to, writes, chunk, streaming);
        else
#pragma omp parallel for num_threads(threads) reduction(+ : total)
            for (int t = 0; t < threads; ++t) {
                const int64_t r0 = reads * t / threads, w0 = writes * t / threads;
                total += move(from + r0, reads * (t + 1) / threads - r0, to + w0, writes * (t + 1) / threads - w0,
                              chunk, streaming);
            }
    }
#if defined(__SSE2__)
    if (streaming)
        _mm_sfence();
#endif
    return total;
}

void *allocate(int64_t bytes)
{
    const size_t size = ((size_t)bytes / HUGE_PAGE + 1) * HUGE_PAGE;
    unsigned char *memory = aligned_alloc(HUGE_PAGE, size);
    if (!memory)
        return NULL;
#if defined(MADV_HUGEPAGE)
    madvise(memory, size, MADV_HUGEPAGE);
#endif
    for (size_t i = 0; i < size; ++i)
        memory[i] = (unsigned char)i;
    return memory;
}
