/* ---- what arrays must be like */

typedef struct {
    PyArray_Descr *dtype;
    int ndim;
    bool numbers;                 /* Python's and numpy's numbers are taken too */
    int64_t lengths[NPY_MAXDIMS]; /* -1: any */
} Kind;

typedef union {
    double float64;
    float float32;
    int64_t int64;
    uint64_t uint64;
    int32_t int32;
    uint32_t uint32;
    int16_t int16;
    uint16_t uint16;
    int8_t int8;
    uint8_t uint8;
    char bytes[16];
} Number;

static bool fits(const Kind *kind, PyObject *value)
{
    if (!PyArray_CheckExact(value))
        return false;
    PyArrayObject *array = (PyArrayObject *)value;
    if (PyArray_NDIM(array) != kind->ndim || !PyArray_ISCARRAY_RO(array))
        return false;
    const int type = PyArray_TYPE(array), wanted = kind->dtype->type_num;
    if (type != wanted && !PyArray_EquivTypenums(type, wanted)) /* long and long long, say */
        return false;
    const npy_intp *lengths = PyArray_DIMS(array);
    for (int k = 0; k < kind->ndim; ++k)
        if (kind->lengths[k] >= 0 && kind->lengths[k] != lengths[k])
            return false;
    return true;
}

/* A Python number as an element of a dtype, where it is one without loss. */
static bool convert(const Kind *kind, PyObject *value, Number *number)
{
    if (PyFloat_CheckExact(value)) {
        const double x = PyFloat_AS_DOUBLE(value);
        if (kind->dtype->type_num == NPY_DOUBLE) {
            number->float64 = x;
            return true;
        }
        number->float32 = (float)x;
        return kind->dtype->type_num == NPY_FLOAT && (!isinf(number->float32) || isinf(x));
    }
    if (Py_TYPE(value) == kind->dtype->typeobj) {
        PyArray_ScalarAsCtype(value, number);
        return true;
    }
    if (!PyLong_CheckExact(value))
        return false;
    int overflow;
    const long long n = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow)
        return false;
#define INTEGER(field, least, most) number->field = (__typeof__(number->field))n; return (least) <= n && n <= (most)
    switch (kind->dtype->type_num) {
    case NPY_DOUBLE: number->float64 = (double)n; return true;
    case NPY_FLOAT: number->float32 = (float)n; return true;
    case NPY_INT64: number->int64 = n; return true;
    case NPY_INT32: INTEGER(int32, INT32_MIN, INT32_MAX);
    case NPY_INT16: INTEGER(int16, INT16_MIN, INT16_MAX);
    case NPY_INT8: INTEGER(int8, INT8_MIN, INT8_MAX);
    case NPY_UINT64: INTEGER(uint64, 0, INT64_MAX);
    case NPY_UINT32: INTEGER(uint32, 0, UINT32_MAX);
    case NPY_UINT16: INTEGER(uint16, 0, UINT16_MAX);
    case NPY_UINT8: INTEGER(uint8, 0, UINT8_MAX);
    default: return false;
    }
#undef INTEGER
}

static void *place(PyObject *array, int64_t **sizes)
{
    const int ndim = PyArray_NDIM((PyArrayObject *)array);
    for (int k = 0; k < ndim; ++k)
        *(*sizes)++ = PyArray_DIM((PyArrayObject *)array, k);
    return PyArray_DATA((PyArrayObject *)array);
}

/* (dtype, lengths, whether numbers are taken), -1 for a length that may be any */
static bool read_kind(PyObject *told, Kind *kind)
{
    PyObject *dtype, *lengths;
    int numbers;
    if (!PyArg_ParseTuple(told, "O!O!p", &PyArrayDescr_Type, &dtype, &PyTuple_Type, &lengths, &numbers))
        return false;
    if (PyTuple_GET_SIZE(lengths) > NPY_MAXDIMS) {
        PyErr_SetString(PyExc_ValueError, "too many axes");
        return false;
    }
    kind->dtype = (PyArray_Descr *)Py_NewRef(dtype);
    kind->ndim = (int)PyTuple_GET_SIZE(lengths);
    kind->numbers = numbers && kind->ndim == 0 && PyDataType_ELSIZE(kind->dtype) <= (npy_intp)sizeof(Number);
    for (int k = 0; k < kind->ndim; ++k)
        kind->lengths[k] = PyLong_AsLongLong(PyTuple_GET_ITEM(lengths, k));
    return !PyErr_Occurred();
}
