/* Calls of compiled functions from Python.

A Program runs the C of one function: it plans the sizes, makes the results and keeps what is used again. A Call takes
the arguments of a Python call to a Program, a Bound has fixed arrays. All three decline whatever is unusual, and then
Python does the same slowly: it converts, waits, explains.

Who holds the interpreter's lock and finds the guard of a function idle has the function and its state to himself until
he runs Python code or lets go of that lock. So a short call takes no lock of its own; a long one takes the guard's, and
lets other threads run.
*/

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>
#include <numpy/arrayscalars.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef Py_GIL_DISABLED
#error "calls rely on the lock of the interpreter"
#endif

enum { ALIGNMENT = 64, HUGE_PAGE = 1 << 21, RECYCLED = HUGE_PAGE }; /* bytes; below RECYCLED results are kept whole */

/* From PAGED on memory begins with a page. Modulo a page, loads wait for stores to places just behind theirs, and large
   arrays of numpy's begin 16 bytes into one. */
enum { PAGE = 1 << 12, PAGED = 1 << 16 };

enum { PLANS_KEPT = 64, BLOCKS_KEPT = 64 };
static const double LONG_CALL = 50e3; /* nanoseconds, by the estimate of `work` */

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

static Py_ssize_t storage_at, borrowed_at; /* slots of a shared variable */
static Py_ssize_t depth_at, joined_at;     /* slots of a guard */
static PyTypeObject *shared_type, *guard_type;
static PyObject *zero, *one;

/* ---- memory: large blocks in huge pages; those of dropped results are kept for the next */

static void *allocate(size_t size)
{
    void *memory;
    const size_t start = size >= HUGE_PAGE ? HUGE_PAGE : size >= PAGED ? PAGE : ALIGNMENT;
    if (posix_memalign(&memory, start, size ? size : 1) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (size >= HUGE_PAGE)
        (void)madvise(memory, size, MADV_HUGEPAGE);
#endif
    return memory;
}

typedef struct {
    void *memory;
    size_t size;
} Block;

/* The memory of results that nobody holds any more, at most as much as the results of one call take. */
typedef struct {
    PyDataMem_Handler handler; /* numpy allocates and frees the results by it */
    Block blocks[BLOCKS_KEPT];
    int count;
    size_t kept, limit; /* bytes */
} Pool;

/* Give back the oldest blocks until the others take no more than `most`. */
static void shrink(Pool *pool, size_t most)
{
    while (pool->kept > most) {
        pool->kept -= pool->blocks[0].size;
        free(pool->blocks[0].memory);
        pool->count -= 1;
        memmove(pool->blocks, pool->blocks + 1, (size_t)pool->count * sizeof *pool->blocks);
    }
}

static void set_limit(Pool *pool, size_t limit)
{
    pool->limit = limit;
    shrink(pool, limit);
}

static void *pool_malloc(void *context, size_t size)
{
    Pool *pool = context;
    for (int k = pool->count - 1; k >= 0; --k)
        if (pool->blocks[k].size == size) {
            void *memory = pool->blocks[k].memory;
            pool->count -= 1;
            memmove(pool->blocks + k, pool->blocks + k + 1, (size_t)(pool->count - k) * sizeof *pool->blocks);
            pool->kept -= size;
            return memory;
        }
    return allocate(size);
}

static void pool_free(void *context, void *memory, size_t size)
{
    Pool *pool = context;
    if (memory == NULL || size < RECYCLED || size > pool->limit) {
        free(memory);
        return;
    }
    shrink(pool, pool->limit - size);
    if (pool->count == BLOCKS_KEPT)
        shrink(pool, pool->kept - 1);
    pool->blocks[pool->count++] = (Block){memory, size};
    pool->kept += size;
}

static void *pool_calloc(void *context, size_t count, size_t size)
{
    (void)context;
    return calloc(count, size);
}

static void *pool_realloc(void *context, void *memory, size_t size)
{
    (void)context;
    return realloc(memory, size);
}

static void pool_end(PyObject *capsule) /* the program has gone, and all its results */
{
    Pool *pool = PyCapsule_GetPointer(capsule, "mem_handler");
    set_limit(pool, 0);
    free(pool);
}

static PyObject *pool_new(Pool **pool)
{
    *pool = calloc(1, sizeof **pool);
    if (*pool == NULL)
        return PyErr_NoMemory();
    const PyDataMem_Handler handler = {
        "symgraph", 1, {*pool, pool_malloc, pool_calloc, pool_realloc, pool_free}};
    (*pool)->handler = handler;
    PyObject *capsule = PyCapsule_New(*pool, "mem_handler", pool_end); /* the handler is the first field */
    if (capsule == NULL)
        free(*pool);
    return capsule;
}
