/* ---- the type Program */

/* Memory for one item for each element of a tuple; without it `count` stays as it is. */
static void *items(PyObject *tuple, Py_ssize_t *count, size_t size)
{
    void *memory = PyMem_Calloc((size_t)PyTuple_GET_SIZE(tuple) + 1, size);
    if (memory == NULL)
        return PyErr_NoMemory();
    *count = PyTuple_GET_SIZE(tuple);
    return memory;
}

static bool read_variable(PyObject *variable)
{
    if (!PyObject_TypeCheck(variable, shared_type))
        PyErr_SetString(PyExc_TypeError, "this is no shared variable");
    return !PyErr_Occurred();
}

static bool read_inputs(Program *p, PyObject *told)
{
    if ((p->input = items(told, &p->inputs, sizeof *p->input)) == NULL)
        return false;
    for (Py_ssize_t k = 0; k < p->inputs; ++k) {
        if (!read_kind(PyTuple_GET_ITEM(told, k), &p->input[k]))
            return false;
        p->given_inputs += p->input[k].ndim;
    }
    p->given = p->given_inputs;
    return true;
}

static bool read_shared(Program *p, PyObject *told)
{
    if ((p->state = items(told, &p->shared, sizeof *p->state)) == NULL ||
        (p->apart = items(told, &p->shared, 2 * sizeof *p->apart)) == NULL)
        return false;
    for (Py_ssize_t k = 0; k < p->shared; ++k) {
        PyObject *variable, *kind;
        int changed;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(told, k), "OOp", &variable, &kind, &changed) ||
            !read_variable(variable) || !read_kind(kind, &p->state[k].kind))
            return false;
        p->state[k].variable = Py_NewRef(variable);
        p->state[k].changed = changed;
        p->given += p->state[k].kind.ndim;
    }
    return true;
}

static bool read_results(Program *p, PyObject *told)
{
    if ((p->result = items(told, &p->results, sizeof *p->result)) == NULL)
        return false;
    for (Py_ssize_t k = 0; k < p->results; ++k) {
        PyObject *kind, *positions, *replaces;
        Result *result = &p->result[k];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(told, k), "OO!O", &kind, &PyTuple_Type, &positions, &replaces) ||
            !read_kind(kind, &result->kind) || (replaces != Py_None && !read_variable(replaces)))
            return false;
        for (int j = 0; j < result->kind.ndim; ++j)
            result->positions[j] = PyLong_AsSsize_t(PyTuple_GetItem(positions, j));
        if (replaces != Py_None)
            result->replaces = Py_NewRef(replaces);
        else
            p->returned = k + 1;
    }
    return !PyErr_Occurred();
}

static bool read_constants(Program *p, PyObject *told)
{
    if ((p->constant = items(told, &p->constants, sizeof *p->constant)) == NULL)
        return false;
    for (Py_ssize_t k = 0; k < p->constants; ++k)
        p->constant[k] = PyArray_DATA((PyArrayObject *)PyTuple_GET_ITEM(told, k));
    p->kept = Py_NewRef(told);
    return true;
}

static bool read_work(Program *p, PyObject *told)
{
    if ((p->term = items(told, &p->terms, sizeof *p->term)) == NULL)
        return false;
    for (Py_ssize_t k = 0; k < p->terms; ++k) {
        PyObject *positions;
        Term *term = &p->term[k];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(told, k), "dO!", &term->coefficient, &PyTuple_Type, &positions) ||
            (term->positions = items(positions, &term->count, sizeof *term->positions)) == NULL)
            return false;
        for (Py_ssize_t j = 0; j < term->count; ++j)
            term->positions[j] = PyLong_AsSsize_t(PyTuple_GET_ITEM(positions, j));
    }
    return !PyErr_Occurred();
}

static PyObject *program_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"run",  "plan",         "inputs",       "shared", "constants", "results",
                            "size_count", "workspace_at", "reads_values", "work",   NULL};
    Py_ssize_t run_at, plan_at, size_count, workspace_at;
    PyObject *inputs, *shared, *constants, *results, *terms;
    int reads_values;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "nnO!O!O!O!nnpO!", names, &run_at, &plan_at, &PyTuple_Type, &inputs,
                                     &PyTuple_Type, &shared, &PyTuple_Type, &constants, &PyTuple_Type, &results,
                                     &size_count, &workspace_at, &reads_values, &PyTuple_Type, &terms))
        return NULL;
    Program *p = (Program *)type->tp_alloc(type, 0);
    if (p == NULL)
        return NULL;
    p->run = (Run *)run_at;
    p->plan = (Plan *)plan_at;
    p->size_count = size_count;
    p->workspace_at = workspace_at;
    p->reads_values = reads_values;
    p->handler = pool_new(&p->pool);
    p->last = PyMem_Calloc((size_t)size_count + 1, sizeof *p->last);
    if (p->handler != NULL && p->last != NULL && read_inputs(p, inputs) && read_shared(p, shared) &&
        read_constants(p, constants) && read_results(p, results) && read_work(p, terms)) {
        p->arrays = p->inputs + p->shared + p->constants + p->results;
        return (PyObject *)p;
    }
    Py_DECREF(p);
    return NULL;
}

static PyObject *program_free(PyObject *self, PyObject *unused)
{
    Program *p = (Program *)self;
    (void)unused;
    free(p->workspace);
    p->workspace = NULL;
    p->workspace_size = 0;
    shrink(p->pool, 0);
    for (Py_ssize_t k = 0; k < p->results; ++k)
        drop_kept(&p->result[k]);
    Py_RETURN_NONE;
}

static void program_dealloc(PyObject *self)
{
    Program *p = (Program *)self;
    for (Py_ssize_t k = 0; k < p->inputs; ++k)
        Py_XDECREF(p->input[k].dtype);
    for (Py_ssize_t k = 0; k < p->shared; ++k) {
        Py_XDECREF(p->state[k].variable);
        Py_XDECREF(p->state[k].kind.dtype);
    }
    for (Py_ssize_t k = 0; k < p->results; ++k) {
        Py_XDECREF(p->result[k].replaces);
        Py_XDECREF(p->result[k].kind.dtype);
        drop_kept(&p->result[k]);
    }
    for (Py_ssize_t k = 0; k < p->terms; ++k)
        PyMem_Free(p->term[k].positions);
    for (int k = 0; k < p->plans; ++k)
        free(p->planned[k].sizes);
    PyMem_Free(p->input);
    PyMem_Free(p->state);
    PyMem_Free(p->constant);
    PyMem_Free(p->result);
    PyMem_Free(p->term);
    PyMem_Free(p->last);
    PyMem_Free(p->apart);
    Py_XDECREF(p->kept);
    free(p->workspace);
    if (p->handler != NULL)
        set_limit(p->pool, 0);
    Py_XDECREF(p->handler);
    Py_TYPE(self)->tp_free(self);
}

/* A list or tuple of arrays, one for each input; NULL with an error for another number. */
static PyObject *place_inputs(const Program *p, PyObject *given, void **arrays, int64_t *sizes)
{
    PyObject *fast = PySequence_Fast(given, "arrays come as a list");
    if (fast == NULL)
        return NULL;
    for (Py_ssize_t k = 0; k < p->inputs && k < PySequence_Fast_GET_SIZE(fast); ++k) {
        PyObject *array = PySequence_Fast_GET_ITEM(fast, k);
        if (!fits(&p->input[k], array))
            break;
        arrays[k] = place(array, &sizes);
        if (k + 1 == p->inputs)
            return fast;
    }
    if (p->inputs == 0 && PySequence_Fast_GET_SIZE(fast) == 0)
        return fast;
    Py_DECREF(fast);
    PyErr_SetString(PyExc_ValueError, "these are not the arrays that the program takes");
    return NULL;
}

/* Whether `out` is a tuple of arrays that the first results can be written to, whatever their lengths. */
static bool takes_out(const Program *p, PyObject *out)
{
    bool good = PyTuple_Check(out) && PyTuple_GET_SIZE(out) <= p->returned;
    for (Py_ssize_t k = 0; good && k < PyTuple_GET_SIZE(out); ++k) {
        PyObject *array = PyTuple_GET_ITEM(out, k);
        Kind kind = p->result[k].kind;
        for (int j = 0; j < kind.ndim; ++j)
            kind.lengths[j] = -1;
        good = fits(&kind, array) && PyArray_ISWRITEABLE((PyArrayObject *)array);
    }
    if (!good)
        PyErr_SetString(PyExc_ValueError, "results are written to a tuple of arrays like them");
    return good;
}

static PyObject *program_run(PyObject *self, PyObject *args)
{
    Program *p = (Program *)self;
    PyObject *given, *out = Py_None;
    void *arrays[p->arrays + 1];
    int64_t sizes[p->size_count + 1];
    PyObject *results[p->results + 1];
    if (!PyArg_ParseTuple(args, "O|O", &given, &out))
        return NULL;
    if (out != Py_None && !takes_out(p, out))
        return NULL;
    PyObject *inputs = place_inputs(p, given, arrays, sizes);
    if (inputs == NULL)
        return NULL;
    const Outcome outcome = launch(p, NULL, arrays, sizes, out != Py_None ? out : NULL, results);
    Py_DECREF(inputs);
    switch (outcome) {
    case DONE: break;
    case REFUSED: Py_RETURN_NONE;
    case FAILED: Py_RETURN_FALSE;
    case UNUSUAL: PyErr_SetString(PyExc_ValueError, "the state or the results have other lengths"); return NULL;
    case ERROR: return NULL;
    }
    PyObject *list = PyList_New(p->returned);
    for (Py_ssize_t k = 0; k < p->returned; ++k) {
        if (list != NULL)
            PyList_SET_ITEM(list, k, results[k]);
        else
            Py_DECREF(results[k]);
    }
    return list;
}

/* The lengths of the results for these inputs; None where an entry check fails. */
static PyObject *program_shapes(PyObject *self, PyObject *given)
{
    Program *p = (Program *)self;
    void *arrays[p->arrays + 1];
    int64_t sizes[p->size_count + 1];
    bool is_long;
    PyObject *inputs = place_inputs(p, given, arrays, sizes);
    if (inputs == NULL)
        return NULL;
    const bool placed = place_shared(p, arrays, sizes, true);
    for (Py_ssize_t k = 0; k < p->constants; ++k)
        arrays[p->inputs + p->shared + k] = p->constant[k];
    const bool planned = placed && plan(p, arrays, sizes, &is_long);
    Py_DECREF(inputs);
    if (!planned)
        Py_RETURN_NONE;
    PyObject *shapes = PyTuple_New(p->returned);
    for (Py_ssize_t k = 0; shapes != NULL && k < p->returned; ++k) {
        npy_intp lengths[NPY_MAXDIMS];
        lengths_of(&p->result[k], sizes, lengths);
        PyObject *shape = PyArray_IntTupleFromIntp(p->result[k].kind.ndim, lengths);
        if (shape == NULL)
            Py_CLEAR(shapes);
        else
            PyTuple_SET_ITEM(shapes, k, shape);
    }
    return shapes;
}

static PyObject *program_sizes(PyObject *self, PyObject *unused)
{
    const Program *p = (Program *)self;
    (void)unused;
    PyObject *list = PyList_New(p->size_count);
    for (Py_ssize_t k = 0; list != NULL && k < p->size_count; ++k) {
        PyObject *size = PyLong_FromLongLong(p->last[k]);
        if (size == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, k, size);
    }
    return list;
}

static PyObject *program_kept(PyObject *self, void *unused)
{
    const Program *p = (Program *)self;
    size_t total = p->pool->kept;
    (void)unused;
    for (Py_ssize_t k = 0; k < p->results; ++k)
        total += dropped_bytes(&p->result[k]);
    return PyLong_FromSize_t(total);
}

static PyObject *program_workspace(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((Program *)self)->workspace_size);
}

static PyMethodDef program_methods[] = {
    {"run", program_run, METH_VARARGS, NULL},
    {"shapes", program_shapes, METH_O, NULL},
    {"sizes", program_sizes, METH_NOARGS, NULL},
    {"free", program_free, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef program_members[] = {
    {"calls", T_LONGLONG, offsetof(Program, calls), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef program_properties[] = {
    {"kept_bytes", program_kept, NULL, NULL, NULL},
    {"workspace_bytes", program_workspace, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject ProgramType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "codegen.launcher.Program",
    .tp_basicsize = sizeof(Program),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = program_new,
    .tp_dealloc = program_dealloc,
    .tp_methods = program_methods,
    .tp_members = program_members,
    .tp_getset = program_properties,
};
