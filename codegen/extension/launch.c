/* ---- guards */

typedef enum { DONE, UNUSUAL, REFUSED, FAILED, ERROR } Outcome; /* REFUSED by the plan, FAILED in the run */

typedef struct {
    PyObject *guard, *acquire, *release;
} Guard;

static bool read_guard(PyObject *guard, Guard *into)
{
    if (!PyObject_TypeCheck(guard, guard_type)) {
        PyErr_SetString(PyExc_TypeError, "this is no guard");
        return false;
    }
    PyObject *lock = PyObject_GetAttrString(guard, "lock");
    if (lock == NULL)
        return false;
    into->guard = Py_NewRef(guard);
    into->acquire = PyObject_GetAttrString(lock, "acquire");
    into->release = PyObject_GetAttrString(lock, "release");
    Py_DECREF(lock);
    return into->acquire != NULL && into->release != NULL;
}

static void drop_guard(Guard *guard)
{
    Py_CLEAR(guard->guard);
    Py_CLEAR(guard->acquire);
    Py_CLEAR(guard->release);
}

static bool is_idle(const Guard *guard)
{
    return SLOT(guard->guard, depth_at) == zero && SLOT(guard->guard, joined_at) == Py_None;
}

static void set_depth(const Guard *guard, PyObject *depth)
{
    PyObject *old = SLOT(guard->guard, depth_at);
    SLOT(guard->guard, depth_at) = Py_NewRef(depth);
    Py_XDECREF(old);
}

/* By calls that run no Python code, so that an interrupt cannot come between the lock and its release. */
static Outcome hold(const Guard *guard)
{
    PyObject *held = PyObject_CallNoArgs(guard->acquire);
    if (held == NULL)
        return ERROR;
    Py_DECREF(held);
    if (is_idle(guard)) {
        set_depth(guard, one);
        return DONE;
    }
    PyObject *released = PyObject_CallNoArgs(guard->release);
    Py_XDECREF(released);
    return released != NULL ? UNUSUAL : ERROR;
}

static Outcome let_go(const Guard *guard, Outcome outcome)
{
    PyObject *type, *value, *trace; /* of the error that there may be: Python must not be called with one */
    PyErr_Fetch(&type, &value, &trace);
    set_depth(guard, zero);
    PyObject *released = PyObject_CallNoArgs(guard->release);
    Py_XDECREF(released);
    if (released == NULL) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(trace);
        return ERROR;
    }
    PyErr_Restore(type, value, trace);
    return outcome;
}

/* ---- programs */

typedef int Run(void *const *arrays, const int64_t *sizes, void *workspace);
typedef int Plan(void *const *arrays, int64_t *sizes);

typedef struct {
    PyObject *variable;
    Kind kind;
    bool changed; /* in place */
} Shared;

typedef struct {
    double coefficient;
    Py_ssize_t count, *positions;
} Term;

typedef struct {
    int64_t *sizes;
    bool is_long;
} Planned;

typedef struct {
    char *start, *end;
} Extent;

typedef struct {
    PyObject_HEAD
    Run *run;
    Plan *plan;
    Py_ssize_t inputs, shared, constants, results, returned, arrays, terms;
    Py_ssize_t given_inputs, given, size_count, workspace_at;
    Kind *input;
    Shared *state;
    void **constant;
    Result *result;
    Term *term;
    PyObject *kept; /* keeps the constants */
    bool reads_values;
    Planned planned[PLANS_KEPT];
    int plans;
    int64_t *last; /* the sizes of the last call */
    const void *last_by; /* the Bound that made it, if it was one that repeated itself */
    Extent *apart; /* of the state when it was last seen to share no memory, and as much room for it now */
    char *workspace;
    size_t workspace_size;
    Pool *pool;
    PyObject *handler;
    long long calls;
} Program;

static Extent extent(const Kind *kind, void *start, const int64_t **sizes)
{
    int64_t bytes = (int64_t)PyDataType_ELSIZE(kind->dtype);
    for (int k = 0; k < kind->ndim; ++k)
        bytes *= *(*sizes)++;
    return (Extent){start, (char *)start + bytes};
}

static bool overlap(Extent one, Extent other)
{
    return one.start < other.end && other.start < one.end;
}

/* Whether what a call changes in place shares no memory with anything else that it reads or changes. */
static bool is_apart(Program *p, void *const *arrays, const int64_t *sizes)
{
    Extent *state = p->apart + p->shared;
    const int64_t *at = sizes + p->given_inputs;
    for (Py_ssize_t k = 0; k < p->shared; ++k)
        state[k] = extent(&p->state[k].kind, arrays[p->inputs + k], &at);
    if (memcmp(state, p->apart, (size_t)p->shared * sizeof *state) != 0) {
        for (Py_ssize_t k = 0; k < p->shared; ++k)
            for (Py_ssize_t j = 0; p->state[k].changed && j < p->shared; ++j)
                if (j != k && overlap(state[k], state[j]))
                    return false;
        memcpy(p->apart, state, (size_t)p->shared * sizeof *state);
    }
    for (Py_ssize_t j = 0; j < p->inputs; ++j) {
        const Extent input = extent(&p->input[j], arrays[j], &sizes);
        for (Py_ssize_t k = 0; k < p->shared; ++k)
            if (p->state[k].changed && overlap(state[k], input))
                return false;
    }
    return true;
}

/* Fill in the arrays of the state and their lengths; false where they are not as expected, or not apart. */
static bool place_shared(Program *p, void **arrays, int64_t *sizes, bool trusted)
{
    bool borrowed = false;
    int64_t *at = sizes + p->given_inputs;
    for (Py_ssize_t k = 0; k < p->shared; ++k) {
        const Shared *s = &p->state[k];
        PyObject *storage = SLOT(s->variable, storage_at);
        if (storage == NULL || !fits(&s->kind, storage))
            return false;
        borrowed |= s->changed && SLOT(s->variable, borrowed_at) != Py_False;
        arrays[p->inputs + k] = place(storage, &at);
    }
    return trusted || !borrowed || is_apart(p, arrays, sizes);
}

static double work(const Program *p, const int64_t *sizes)
{
    double total = 0;
    for (Py_ssize_t k = 0; k < p->terms; ++k) {
        double product = p->term[k].coefficient;
        for (Py_ssize_t j = 0; j < p->term[k].count; ++j)
            product *= (double)sizes[p->term[k].positions[j]];
        total += product;
    }
    return total;
}

/* Fill in the derived sizes; false where an entry check fails. */
static bool plan(Program *p, void *const *arrays, int64_t *sizes, bool *is_long)
{
    for (int k = 0; k < p->plans; ++k)
        if (memcmp(p->planned[k].sizes, sizes, (size_t)p->given * sizeof *sizes) == 0) {
            const Planned found = p->planned[k];
            p->planned[k] = p->planned[0];
            p->planned[0] = found;
            for (Py_ssize_t j = p->given; j < p->size_count; ++j)
                sizes[j] = found.sizes[j];
            *is_long = found.is_long;
            return true;
        }
    if (p->plan(arrays, sizes) != 0)
        return false;
    *is_long = work(p, sizes) > LONG_CALL;
    if (p->reads_values)
        return true;
    if (p->plans < PLANS_KEPT) {
        int64_t *memory = malloc(((size_t)p->size_count + 1) * sizeof *memory);
        if (memory == NULL)
            return true;
        p->planned[p->plans++].sizes = memory;
    }
    memcpy(p->planned[p->plans - 1].sizes, sizes, (size_t)p->size_count * sizeof *sizes);
    p->planned[p->plans - 1].is_long = *is_long;
    return true;
}

static void drop(PyObject **results, Py_ssize_t count)
{
    for (Py_ssize_t k = 0; k < count; ++k)
        Py_XDECREF(results[k]);
}

/* Make arrays for those results that have none, with memory by our handler if `aligned`. */
static bool make_missing(Program *p, const int64_t *sizes, PyObject **results, bool aligned)
{
    npy_intp lengths[NPY_MAXDIMS];
    bool good = true;
    PyObject *usual = aligned ? PyDataMem_SetHandler(p->handler) : NULL;
    if (aligned && usual == NULL)
        return false;
    for (Py_ssize_t k = 0; good && k < p->results; ++k) {
        if (results[k] != NULL)
            continue;
        const Kind *kind = &p->result[k].kind;
        lengths_of(&p->result[k], sizes, lengths);
        results[k] = PyArray_NewFromDescr(&PyArray_Type, (PyArray_Descr *)Py_NewRef(kind->dtype), kind->ndim, lengths,
                                          NULL, NULL, 0, NULL);
        good = results[k] != NULL;
    }
    if (usual != NULL) {
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        PyObject *ours = PyDataMem_SetHandler(usual);
        Py_DECREF(usual);
        Py_XDECREF(ours);
        if (type != NULL)
            PyErr_Restore(type, value, trace);
        good = good && ours != NULL;
    }
    return good;
}

/* Arrays for the results: those of `out`, a tuple, for the first ones, then kept and new ones. `slow` is set where Python
   code may have run. */
static Outcome take_results(Program *p, const int64_t *sizes, void **arrays, PyObject *out, PyObject **results,
                            bool *slow)
{
    npy_intp lengths[NPY_MAXDIMS];
    const Py_ssize_t first = out != NULL ? PyTuple_GET_SIZE(out) : 0;
    double large = 0, missing = 0; /* bytes */
    bool all = true;
    *slow = false;
    for (Py_ssize_t k = 0; k < p->results; ++k) {
        Result *result = &p->result[k];
        lengths_of(result, sizes, lengths);
        if (k < first) {
            results[k] = Py_NewRef(PyTuple_GET_ITEM(out, k));
            if (!has_lengths(results[k], result->kind.ndim, lengths)) {
                drop(results, k + 1);
                return UNUSUAL;
            }
        } else if ((results[k] = returned_again(result, lengths, slow)) == NULL) {
            const double bytes = bytes_of(&result->kind, lengths);
            large += bytes >= RECYCLED ? bytes : 0;
            missing = bytes > missing ? bytes : missing;
            all = false;
        }
    }
    *slow |= missing >= ALIGNED;
    if (large > 0)
        set_limit(p->pool, (size_t)large);
    if (!all && !make_missing(p, sizes, results, missing >= ALIGNED)) {
        drop(results, p->results);
        return ERROR;
    }
    for (Py_ssize_t k = 0; k < p->results; ++k)
        arrays[p->arrays - p->results + k] = PyArray_DATA((PyArrayObject *)results[k]);
    return DONE;
}

static bool reserve(Program *p, const int64_t *sizes)
{
    const size_t needed = (size_t)sizes[p->workspace_at];
    if (needed <= p->workspace_size)
        return true;
    free(p->workspace);
    p->workspace_size = 0;
    p->workspace = allocate(needed);
    if (p->workspace == NULL) {
        PyErr_Format(PyExc_MemoryError, "the values on the way of a call need %zu bytes", needed);
        return false;
    }
    p->workspace_size = needed;
    return true;
}

/* ---- one call */

/* Python is compiled for any x86: its SSE instructions wait for the upper halves of registers that AVX may have used. */
static void clean_vector_registers(void)
{
#if defined(__GNUC__) && defined(__AVX__)
    __builtin_ia32_vzeroupper();
#endif
}

/* The run, and the new values of state that grows in their places; the old ones take the results' places. */
static Outcome run(Program *p, void *const *arrays, const int64_t *sizes, PyObject **results, bool is_long)
{
    int code;
    if (!reserve(p, sizes))
        return ERROR;
    if (is_long) {
        Py_BEGIN_ALLOW_THREADS
        code = p->run(arrays, sizes, p->workspace);
        Py_END_ALLOW_THREADS
    } else
        code = p->run(arrays, sizes, p->workspace);
    clean_vector_registers();
    if (code != 0)
        return FAILED;
    p->calls += 1;
    p->last_by = NULL;
    for (Py_ssize_t k = 0; k < p->size_count; ++k)
        p->last[k] = sizes[k];
    for (Py_ssize_t k = p->returned; k < p->results; ++k) {
        PyObject *variable = p->result[k].replaces, *old = SLOT(variable, storage_at);
        SLOT(variable, storage_at) = results[k];
        results[k] = old;
        old = SLOT(variable, borrowed_at);
        SLOT(variable, borrowed_at) = Py_NewRef(Py_False);
        Py_XDECREF(old);
    }
    return DONE;
}

/* Whether the state is still what `arrays` and `sizes` were made for, after Python code has run. */
static bool is_unchanged(Program *p, void **arrays, const int64_t *sizes, bool trusted)
{
    int64_t now[p->size_count + 1];
    bool is_long;
    memcpy(now, sizes, (size_t)p->size_count * sizeof *now);
    if (!place_shared(p, arrays, now, trusted))
        return false;
    if (p->reads_values && !plan(p, arrays, now, &is_long))
        return false;
    return memcmp(now, sizes, (size_t)p->size_count * sizeof *now) == 0;
}

/* A call whose inputs are placed. Without a guard the caller holds it. `out`: a tuple of arrays to write to, or NULL. */
static Outcome launch(Program *p, const Guard *guard, void **arrays, int64_t *sizes, PyObject *out,
                      PyObject **results)
{
    bool is_long, slow;
    if (!place_shared(p, arrays, sizes, guard == NULL))
        return UNUSUAL;
    for (Py_ssize_t k = 0; k < p->constants; ++k)
        arrays[p->inputs + p->shared + k] = p->constant[k];
    if (!plan(p, arrays, sizes, &is_long))
        return REFUSED;
    Outcome outcome = take_results(p, sizes, arrays, out, results, &slow);
    if (outcome != DONE)
        return outcome;
    const bool held = is_long && guard != NULL;
    if (held)
        outcome = hold(guard);
    else if (slow && guard != NULL && !is_idle(guard))
        outcome = UNUSUAL;
    if (outcome == DONE) {
        const bool waited = is_long || slow;
        outcome = waited && !is_unchanged(p, arrays, sizes, guard == NULL) ? UNUSUAL
                                                                           : run(p, arrays, sizes, results, is_long);
        if (held)
            outcome = let_go(guard, outcome);
    }
    if (outcome != DONE) {
        drop(results, p->results);
        return outcome;
    }
    drop(results + p->returned, p->results - p->returned);
    for (Py_ssize_t k = out != NULL ? PyTuple_GET_SIZE(out) : 0; k < p->returned; ++k)
        keep(&p->result[k], results[k]);
    return DONE;
}
