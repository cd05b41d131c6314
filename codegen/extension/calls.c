/* ---- calls by Python: arguments checked, results packed */

typedef enum { ONE, LIST, DICT, NONE } Form;

typedef struct {
    PyObject_HEAD
    Program *program;
    Guard guard;
    Kind *taken; /* what the arguments must be like */
    Py_ssize_t count; /* of them */
    Form form;
    PyObject *keys; /* of a dict */
    char retired;   /* whether it takes calls no more */
} Call;

static PyObject *call_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"program", "guard", "inputs", "form", "keys", NULL};
    PyObject *program, *guard, *inputs, *keys;
    int form;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!OO!iO!", names, &ProgramType, &program, &guard, &PyTuple_Type,
                                     &inputs, &form, &PyTuple_Type, &keys))
        return NULL;
    Call *call = (Call *)type->tp_alloc(type, 0);
    if (call == NULL)
        return NULL;
    call->program = (Program *)Py_NewRef(program);
    call->keys = Py_NewRef(keys);
    call->form = (Form)form;
    call->taken = items(inputs, &call->count, sizeof *call->taken);
    bool good = call->taken != NULL && read_guard(guard, &call->guard);
    if (good && (call->count != call->program->inputs || (form == ONE && call->program->returned != 1) ||
                 (form == DICT && call->program->returned != PyTuple_GET_SIZE(keys)))) {
        PyErr_SetString(PyExc_ValueError, "the program takes or gives something else");
        good = false;
    }
    for (Py_ssize_t k = 0; good && k < call->count; ++k)
        good = read_kind(PyTuple_GET_ITEM(inputs, k), &call->taken[k]);
    if (good)
        return (PyObject *)call;
    Py_DECREF(call);
    return NULL;
}

static void call_dealloc(PyObject *self)
{
    Call *call = (Call *)self;
    for (Py_ssize_t k = 0; k < call->count; ++k)
        Py_XDECREF(call->taken[k].dtype);
    PyMem_Free(call->taken);
    Py_XDECREF(call->program);
    Py_XDECREF(call->keys);
    drop_guard(&call->guard);
    Py_TYPE(self)->tp_free(self);
}

/* The results, references to which this takes over, in the form that was asked for. */
static PyObject *pack(const Call *call, PyObject **results)
{
    const Py_ssize_t count = call->program->returned;
    if (call->form == ONE)
        return results[0];
    PyObject *packed = call->form == LIST   ? PyList_New(count)
                       : call->form == DICT ? PyDict_New()
                                            : Py_NewRef(Py_None);
    for (Py_ssize_t k = 0; k < count; ++k) {
        if (packed != NULL && call->form == LIST) {
            PyList_SET_ITEM(packed, k, results[k]);
            continue;
        }
        if (packed != NULL && call->form == DICT &&
            PyDict_SetItem(packed, PyTuple_GET_ITEM(call->keys, k), results[k]) < 0)
            Py_CLEAR(packed);
        Py_DECREF(results[k]);
    }
    return packed;
}

/* Run; false where the call is declined, and with an error set where it has failed. */
static bool call_run(Call *call, PyObject *const *args, Py_ssize_t count, PyObject *out, PyObject **results)
{
    Program *p = call->program;
    if (call->retired || count != p->inputs || !is_idle(&call->guard))
        return false;
    void *arrays[p->arrays + 1];
    int64_t sizes[p->size_count + 1], *at = sizes;
    Number numbers[p->inputs + 1];
    for (Py_ssize_t k = 0; k < count; ++k) {
        const Kind *kind = &call->taken[k];
        if (fits(kind, args[k]))
            arrays[k] = place(args[k], &at);
        else if (kind->numbers && convert(kind, args[k], &numbers[k]))
            arrays[k] = &numbers[k];
        else
            return false;
    }
    return launch(p, &call->guard, arrays, sizes, out, results) == DONE;
}

/* The packed results, or NULL, without an error where the call is declined. */
static PyObject *call_try(Call *call, PyObject *const *args, Py_ssize_t count)
{
    PyObject *results[call->program->results + 1];
    return call_run(call, args, count, NULL, results) ? pack(call, results) : NULL;
}

static PyMemberDef call_members[] = {
    {"program", T_OBJECT, offsetof(Call, program), READONLY, NULL},
    {"retired", T_BOOL, offsetof(Call, retired), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject CallType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "codegen.launcher.Call",
    .tp_basicsize = sizeof(Call),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = call_new,
    .tp_dealloc = call_dealloc,
    .tp_members = call_members,
};

/* ---- calls with arrays that are fixed

As long as a call finds all arrays as the last one left them, and is short, it repeats what that one handed to the
program, and checks nothing else.
*/

typedef struct {
    PyArrayObject *array;
    PyArray_Descr *dtype; /* held */
    void *data;
    npy_intp *lengths;
    int flags, ndim;
} Seen;

typedef struct {
    PyObject_HEAD
    Call *call;
    PyObject *inputs, *out, *packed;
    PyObject *storages; /* of the state, seen to share no memory with `out` */
    Seen *seen; /* the inputs, the state, the results; NULL where the next call may not repeat the last one */
    npy_intp *lengths; /* of all of them */
    void **arrays;
    int64_t *sizes;
} Bound;

static Py_ssize_t seen_count(const Program *p) { return p->inputs + p->shared + p->returned; }

static PyObject *seen_array(const Bound *bound, Py_ssize_t k)
{
    const Program *p = bound->call->program;
    if (k < p->inputs)
        return PyTuple_GET_ITEM(bound->inputs, k);
    k -= p->inputs;
    return k < p->shared ? PyTuple_GET_ITEM(bound->storages, k) : PyTuple_GET_ITEM(bound->out, k - p->shared);
}

static PyObject *bound_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"call", "inputs", "out", "packed", "storages", NULL};
    PyObject *call, *inputs, *out, *packed, *storages;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!O!OO!", names, &CallType, &call, &PyTuple_Type, &inputs,
                                     &PyTuple_Type, &out, &packed, &PyTuple_Type, &storages))
        return NULL;
    const Program *p = ((Call *)call)->program;
    if (!takes_out(p, out))
        return NULL;
    if (PyTuple_GET_SIZE(inputs) != p->inputs || PyTuple_GET_SIZE(storages) != p->shared) {
        PyErr_SetString(PyExc_ValueError, "these are not the arrays that the program takes");
        return NULL;
    }
    Bound *bound = (Bound *)type->tp_alloc(type, 0);
    if (bound == NULL)
        return NULL;
    bound->call = (Call *)Py_NewRef(call);
    bound->inputs = Py_NewRef(inputs);
    bound->out = Py_NewRef(out);
    bound->packed = Py_NewRef(packed);
    bound->storages = Py_NewRef(storages);
    return (PyObject *)bound;
}

static void forget(Bound *bound)
{
    if (bound->call->program->last_by == bound)
        bound->call->program->last_by = NULL;
    for (Py_ssize_t k = 0; bound->seen != NULL && k < seen_count(bound->call->program); ++k)
        Py_XDECREF(bound->seen[k].dtype);
    PyMem_Free(bound->seen);
    PyMem_Free(bound->lengths);
    PyMem_Free(bound->arrays);
    PyMem_Free(bound->sizes);
    bound->seen = NULL;
    bound->lengths = NULL;
    bound->arrays = NULL;
    bound->sizes = NULL;
}

static void bound_dealloc(PyObject *self)
{
    Bound *bound = (Bound *)self;
    if (bound->call != NULL)
        forget(bound);
    Py_XDECREF(bound->call);
    Py_XDECREF(bound->inputs);
    Py_XDECREF(bound->out);
    Py_XDECREF(bound->packed);
    Py_XDECREF(bound->storages);
    Py_TYPE(self)->tp_free(self);
}

/* Note what a call that has succeeded found, if the next one may repeat it; there may be no memory for that. */
static void remember(Bound *bound)
{
    Program *p = bound->call->program;
    const Py_ssize_t count = seen_count(p);
    forget(bound);
    if (p->reads_values || p->results != PyTuple_GET_SIZE(bound->out) || work(p, p->last) > LONG_CALL)
        return;
    size_t lengths = 1;
    for (Py_ssize_t k = 0; k < count; ++k)
        lengths += (size_t)PyArray_NDIM((PyArrayObject *)seen_array(bound, k));
    bound->seen = PyMem_Calloc((size_t)count + 1, sizeof *bound->seen);
    bound->lengths = PyMem_Calloc(lengths, sizeof *bound->lengths);
    bound->arrays = PyMem_Calloc((size_t)p->arrays + 1, sizeof *bound->arrays);
    bound->sizes = PyMem_Calloc((size_t)p->size_count + 1, sizeof *bound->sizes);
    if (bound->seen == NULL || bound->lengths == NULL || bound->arrays == NULL || bound->sizes == NULL) {
        forget(bound);
        return;
    }
    npy_intp *at = bound->lengths;
    for (Py_ssize_t k = 0; k < count; ++k) {
        PyArrayObject *array = (PyArrayObject *)seen_array(bound, k);
        bound->seen[k] = (Seen){array, (PyArray_Descr *)Py_NewRef(PyArray_DESCR(array)), PyArray_DATA(array), at,
                                PyArray_FLAGS(array), PyArray_NDIM(array)};
        for (int j = 0; j < PyArray_NDIM(array); ++j)
            *at++ = PyArray_DIM(array, j);
        bound->arrays[k < p->inputs + p->shared ? k : k + p->constants] = PyArray_DATA(array);
    }
    for (Py_ssize_t k = 0; k < p->constants; ++k)
        bound->arrays[p->inputs + p->shared + k] = p->constant[k];
    memcpy(bound->sizes, p->last, (size_t)p->size_count * sizeof *bound->sizes);
}

static bool is_as_seen(const Seen *seen)
{
    PyArrayObject *const array = seen->array;
    if (PyArray_DATA(array) != seen->data || PyArray_FLAGS(array) != seen->flags ||
        PyArray_DESCR(array) != seen->dtype || PyArray_NDIM(array) != seen->ndim)
        return false;
    const npy_intp *lengths = PyArray_DIMS(array);
    for (int k = 0; k < seen->ndim; ++k)
        if (lengths[k] != seen->lengths[k])
            return false;
    return true;
}

static bool may_repeat(const Bound *bound)
{
    const Program *p = bound->call->program;
    if (bound->seen == NULL || bound->call->retired || !is_idle(&bound->call->guard) ||
        p->workspace_size < (size_t)bound->sizes[p->workspace_at])
        return false;
    for (Py_ssize_t k = 0; k < p->shared; ++k)
        if (SLOT(p->state[k].variable, storage_at) != PyTuple_GET_ITEM(bound->storages, k))
            return false;
    for (Py_ssize_t k = 0; k < seen_count(p); ++k)
        if (!is_as_seen(&bound->seen[k]))
            return false;
    return true;
}

static PyObject *bound_try(Bound *bound)
{
    Program *p = bound->call->program;
    if (may_repeat(bound)) {
        const int code = p->run(bound->arrays, bound->sizes, p->workspace);
        clean_vector_registers();
        if (code != 0)
            return NULL;
        p->calls += 1;
        if (p->last_by != bound) {
            p->last_by = bound;
            memcpy(p->last, bound->sizes, (size_t)p->size_count * sizeof *p->last);
        }
        return Py_NewRef(bound->packed);
    }
    bool same = true;
    for (Py_ssize_t k = 0; k < p->shared; ++k) {
        PyObject *variable = p->state[k].variable;
        const bool is_seen = SLOT(variable, storage_at) == PyTuple_GET_ITEM(bound->storages, k);
        if (!is_seen && SLOT(variable, borrowed_at) != Py_False)
            return NULL;
        same &= is_seen;
    }
    if (!takes_out(p, bound->out)) {
        PyErr_Clear();
        return NULL;
    }
    PyObject *results[p->results + 1];
    if (!call_run(bound->call, &PyTuple_GET_ITEM(bound->inputs, 0), p->inputs, bound->out, results))
        return NULL;
    for (Py_ssize_t k = 0; k < p->returned; ++k)
        Py_DECREF(results[k]);
    if (same)
        remember(bound);
    return Py_NewRef(bound->packed);
}

static PyTypeObject BoundType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "codegen.launcher.Bound",
    .tp_basicsize = sizeof(Bound),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = bound_new,
    .tp_dealloc = bound_dealloc,
};

/* ---- shortcuts: the `__call__` of a Python class, which goes on in Python where C declines */

typedef struct {
    Py_ssize_t at;  /* the slot of an instance that holds its Call or Bound, or None */
    PyObject *slow; /* `__call__` as Python has it */
    struct wrapperbase base;
} Shortcut;

static Shortcut shortcuts[2];

static PyObject *call_shortcut(const Shortcut *shortcut, PyObject *self, PyObject *args, PyObject *named)
{
    PyObject *fast = SLOT(self, shortcut->at), *result = NULL;
    const Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (fast != NULL && named == NULL) {
        Py_INCREF(fast);
        if (Py_IS_TYPE(fast, &CallType))
            result = call_try((Call *)fast, &PyTuple_GET_ITEM(args, 0), count);
        else if (Py_IS_TYPE(fast, &BoundType) && count == 0)
            result = bound_try((Bound *)fast);
        Py_DECREF(fast);
        if (result != NULL || PyErr_Occurred())
            return result;
    }
    PyObject *method = PyMethod_New(shortcut->slow, self);
    if (method == NULL)
        return NULL;
    result = PyObject_Call(method, args, named);
    Py_DECREF(method);
    return result;
}

static PyObject *call_first(PyObject *self, PyObject *args, PyObject *named)
{
    return call_shortcut(&shortcuts[0], self, args, named);
}

static PyObject *call_second(PyObject *self, PyObject *args, PyObject *named)
{
    return call_shortcut(&shortcuts[1], self, args, named);
}

/* Where the slot `name` is in the instances of a class; -1 with an error set where it has none. */
static Py_ssize_t slot_of(PyObject *type, const char *name)
{
    PyObject *slot = PyObject_GetAttrString(type, name);
    if (slot == NULL)
        return -1;
    Py_ssize_t offset = -1;
    if (Py_IS_TYPE(slot, &PyMemberDescr_Type))
        offset = ((PyMemberDescrObject *)slot)->d_member->offset;
    else
        PyErr_Format(PyExc_TypeError, "%s of %R is no slot", name, type);
    Py_DECREF(slot);
    return offset;
}

/* A `__call__` for a class. Being of the kind that classes in C have, it is what calls of an instance run at once: the
   slot of the class gets the function itself, not one that looks `__call__` up. */
static PyObject *new_call(PyTypeObject *type, Shortcut *shortcut, ternaryfunc function)
{
    PyObject *model = PyObject_GetAttrString((PyObject *)Py_TYPE(type), "__call__");
    PyObject *text = PyObject_GetAttrString(shortcut->slow, "__doc__"), *descriptor = NULL;
    PyObject *doc = text == NULL ? NULL : PyUnicode_FromFormat("__call__($self, /, *args, **kwargs)\n--\n\n%S", text);
    if (model != NULL && doc != NULL) {
        if (!Py_IS_TYPE(model, &PyWrapperDescr_Type))
            PyErr_SetString(PyExc_TypeError, "classes of this kind are not called in the usual way");
        else if ((shortcut->base.doc = PyUnicode_AsUTF8(Py_NewRef(doc))) != NULL) { /* as long as the class: for ever */
            const char *told = shortcut->base.doc;
            shortcut->base = *((PyWrapperDescrObject *)model)->d_base;
            shortcut->base.doc = told;
            descriptor = PyDescr_NewWrapper(type, &shortcut->base, (void *)function);
        }
    }
    Py_XDECREF(model);
    Py_XDECREF(text);
    Py_XDECREF(doc);
    return descriptor;
}

/* shorten(which, class, slot): the class gets a `__call__` that first tries what the slot holds. */
static PyObject *shorten(PyObject *module, PyObject *args)
{
    int which;
    PyObject *type;
    const char *slot;
    (void)module;
    if (!PyArg_ParseTuple(args, "iO!s", &which, &PyType_Type, &type, &slot))
        return NULL;
    Shortcut *shortcut = &shortcuts[which != 0];
    if (shortcut->slow != NULL)
        Py_RETURN_NONE;
    if ((shortcut->at = slot_of(type, slot)) < 0 ||
        (shortcut->slow = PyObject_GetAttrString(type, "__call__")) == NULL)
        return NULL;
    PyObject *descriptor = new_call((PyTypeObject *)type, shortcut, which != 0 ? call_second : call_first);
    if (descriptor == NULL || PyObject_SetAttrString(type, "__call__", descriptor) < 0) {
        Py_XDECREF(descriptor);
        Py_CLEAR(shortcut->slow);
        return NULL;
    }
    Py_DECREF(descriptor);
    Py_RETURN_NONE;
}

/* know(shared variables' class, guards' class) */
static PyObject *know(PyObject *module, PyObject *args)
{
    PyObject *shared, *guard;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!", &PyType_Type, &shared, &PyType_Type, &guard))
        return NULL;
    storage_at = slot_of(shared, "storage");
    borrowed_at = slot_of(shared, "borrowed");
    depth_at = slot_of(guard, "depth");
    joined_at = slot_of(guard, "joined");
    if (PyErr_Occurred())
        return NULL;
    shared_type = (PyTypeObject *)Py_NewRef(shared);
    guard_type = (PyTypeObject *)Py_NewRef(guard);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"know", know, METH_VARARGS, NULL},
    {"shorten", shorten, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "launcher", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_launcher(void)
{
    import_array();
    zero = PyLong_FromLong(0); /* the same object wherever Python says 0 */
    one = PyLong_FromLong(1);
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL || PyModule_AddType(module, &ProgramType) < 0 || PyModule_AddType(module, &CallType) < 0 ||
        PyModule_AddType(module, &BoundType) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
