"""The C for large arrays: results past the caches, and operands into them before they are needed.

An ordinary store first reads the line of memory that it writes to, and keeps it in the caches in place of another. The
loop writes to a short row instead, which is then copied to memory line by line.
"""

from __future__ import annotations

from string import Template

RUN = 512  # elements that a loop does at once where each costs much, or is added up
ROW = 128  # the same where each costs little: so few that memory takes one row while the next one is computed
LARGE = 8 << 20  # bytes of an array beyond which a later reader would not find it in a cache of its own

DECLARATIONS = Template("""\
/* Arrays of SG_LARGE bytes and more are written past the caches, where the machine can do that. */
#ifndef SG_LARGE
#define SG_LARGE $large
#endif
#if defined(__clang__)
#define SG_PAST_CACHES(to, from) __builtin_nontemporal_store(from, to)
typedef long long sg_part __attribute__((vector_size(16), may_alias));
#elif defined(__GNUC__) && defined(__AVX512F__)
#define SG_PAST_CACHES(to, from) __builtin_ia32_movntdq512(to, from)
typedef long long sg_part __attribute__((vector_size(64), may_alias));
#elif defined(__GNUC__) && defined(__AVX__)
#define SG_PAST_CACHES(to, from) __builtin_ia32_movntdq256(to, from)
typedef long long sg_part __attribute__((vector_size(32), may_alias));
#elif defined(__GNUC__) && defined(__SSE2__)
#define SG_PAST_CACHES(to, from) __builtin_ia32_movntdq(to, from)
typedef long long sg_part __attribute__((vector_size(16), may_alias));
#endif

static inline bool sg_is_large(int64_t bytes)
{
#ifdef SG_PAST_CACHES
    return bytes >= SG_LARGE;
#else
    return bytes < 0;
#endif
}

/* Copies past the caches, but for the ends of the target that are no whole lines. */
SG_KERNEL void sg_stream(void *restrict target, const void *restrict source, int64_t bytes)
{
    char *to = target;
    const char *from = source;
    int64_t k = 0;
#ifdef SG_PAST_CACHES
    const int64_t head = (int64_t)(-(uintptr_t)to % 64);
    k = head < bytes ? head : bytes;
    memcpy(to, from, (size_t)k);
    for (; bytes - k >= 64; k += 64)
        for (int64_t part = 0; part < 64; part += (int64_t)sizeof(sg_part)) {
            sg_part x;
            memcpy(&x, from + k + part, sizeof x);
            SG_PAST_CACHES((sg_part *)(void *)(to + k + part), x);
        }
#endif
    memcpy(to + k, from + k, (size_t)(bytes - k));
}

/* What was written past the caches comes before what is written from here on, as other threads see it. */
static inline void sg_streamed(void)
{
#if defined(SG_PAST_CACHES) && defined(__SSE2__)
    __builtin_ia32_sfence();
#endif
}""").substitute(large=LARGE)


AHEAD = """\
/* Asks for memory that will be read soon: some bytes, from `distance` behind a place on. */
static inline void sg_ahead(const void *from, int64_t distance, int64_t bytes)
{
#if defined(__GNUC__)
    for (int64_t k = 0; k < bytes; k += 64)
        __builtin_prefetch((const void *)((uintptr_t)from + (uintptr_t)(distance + k)));
#else
    (void)from, (void)distance, (void)bytes;
#endif
}"""
