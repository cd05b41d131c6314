/* ---- the arrays that a call returns

The memory of large results is used again when they are dropped, by the handler. A small one is kept as a whole: to make
an array costs more than most small functions do. It is returned again only when nobody but us holds it and it is as we
made it. With two of them, `y = f(x)` in a loop makes no more, though y is still held while f runs.
*/

enum { ALIGNED = 1 << 10, ARRAYS_KEPT = 2 }; /* bytes from which numpy's alignment would slow loops down; arrays */

typedef struct {
    Kind kind;
    Py_ssize_t positions[NPY_MAXDIMS]; /* in the sizes, of lengths that are not known */
    PyObject *replaces;                /* the shared variable whose value this becomes, or NULL */
    PyObject *kept[ARRAYS_KEPT];       /* returned before, the last one first; or NULL */
} Result;

static void lengths_of(const Result *result, const int64_t *sizes, npy_intp *lengths)
{
    for (int k = 0; k < result->kind.ndim; ++k)
        lengths[k] = (npy_intp)(result->positions[k] < 0 ? result->kind.lengths[k] : sizes[result->positions[k]]);
}

static double bytes_of(const Kind *kind, const npy_intp *lengths)
{
    double bytes = (double)PyDataType_ELSIZE(kind->dtype);
    for (int k = 0; k < kind->ndim; ++k)
        bytes *= (double)lengths[k];
    return bytes;
}

static bool has_lengths(PyObject *array, int ndim, const npy_intp *lengths)
{
    return PyArray_CompareLists(lengths, PyArray_DIMS((PyArrayObject *)array), ndim);
}

/* Whether an array that nobody else holds is as it was made, but for its elements. */
static bool is_whole(PyObject *array, const Kind *kind, const npy_intp *lengths)
{
    PyArrayObject *a = (PyArrayObject *)array;
    const int flags = NPY_ARRAY_CARRAY | NPY_ARRAY_OWNDATA;
    return (PyArray_FLAGS(a) & flags) == flags && PyArray_DESCR(a) == kind->dtype && PyArray_NDIM(a) == kind->ndim &&
           has_lengths(array, kind->ndim, lengths);
}

/* An array that was returned before and dropped, to be returned again; NULL if there is none. One with weak references
   dies instead, and their callbacks may run: then `slow` is set. */
static PyObject *returned_again(Result *result, const npy_intp *lengths, bool *slow)
{
    for (int k = 0; k < ARRAYS_KEPT; ++k) {
        PyObject *array = result->kept[k];
        if (array == NULL || Py_REFCNT(array) > 1)
            continue;
        if (*PyObject_GET_WEAKREFS_LISTPTR(array) != NULL) {
            result->kept[k] = NULL;
            Py_DECREF(array);
            *slow = true;
        } else if (is_whole(array, &result->kind, lengths))
            return Py_NewRef(array);
    }
    return NULL;
}

/* Keep a small array that is returned, in place of the one that was returned first. */
static void keep(Result *result, PyObject *array)
{
    for (int k = 0; k < ARRAYS_KEPT; ++k)
        if (result->kept[k] == array)
            return;
    if (PyArray_NBYTES((PyArrayObject *)array) >= RECYCLED)
        return;
    PyObject *oldest = result->kept[ARRAYS_KEPT - 1];
    memmove(result->kept + 1, result->kept, (ARRAYS_KEPT - 1) * sizeof *result->kept);
    result->kept[0] = Py_NewRef(array);
    Py_XDECREF(oldest);
}

static void drop_kept(Result *result)
{
    for (int k = 0; k < ARRAYS_KEPT; ++k)
        Py_CLEAR(result->kept[k]);
}

/* Bytes of kept arrays that nobody else holds. */
static size_t dropped_bytes(const Result *result)
{
    size_t total = 0;
    for (int k = 0; k < ARRAYS_KEPT; ++k)
        if (result->kept[k] != NULL && Py_REFCNT(result->kept[k]) == 1)
            total += (size_t)PyArray_NBYTES((PyArrayObject *)result->kept[k]);
    return total;
}
