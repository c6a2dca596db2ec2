/* Hits in C. This file only reads an index, and writes what a policy and a counter note at a hit; whatever is no plain
 * hit (an absent key, a running fill, a value that has expired, arguments that do not fit, an error) is left to the
 * Python code, which is called with the same arguments. docs/accelerator.md says how it fits together.
 *
 * Why each load is safe, with and without a GIL:
 *
 *   the index     `PyDict_GetItemRef` gives a strong reference, also while others write (3.13 and later; it takes no
 *                 lock on builds without a GIL). Before 3.13 there is a GIL: no code runs between the end of the
 *                 dict's own look, which begins again where a comparison has changed the dict, and the Py_INCREF here.
 *   an entry      is held by that reference as long as it is read. Its type is compared first, so that its slots are
 *                 where `PyMemberDef` says; that lives as long as the type, which the Lookup holds.
 *   its slots     with a GIL: one load and one Py_INCREF, with nothing between. Without one: `PyMember_GetOne`, which
 *                 loads atomically, tries to take a reference, and takes the entry's lock where the slot was changed
 *                 meanwhile (3.13t, 3.14t and later). `deadline` is loaded before `value`, as `_core.entry` demands.
 *   Lookup,       are set when they are made, never change, and are held by what is being called: the function by its
 *   Front, View   `__globals__`, which cannot be replaced, a cache by `_attach`, which works once. So no count of
 *                 theirs is touched by a hit. tp_clear is for objects that nothing can call any more.
 *
 * No borrowed reference but those of the caller's arguments, and of these objects, crosses a call.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <structmember.h>
#include <time.h>

#if PY_VERSION_HEX < 0x030C0000
#error "PyFunction_SetVectorcall, on which all of this rests, is there from Python 3.12 on"
#endif

typedef enum { MISS = 0, HIT = 1, ODD = 2, RAISED = -1 } Outcome; /* ODD: the Python code is to look by itself */
typedef enum { NOTES_NOTHING, NOTES_FREQ, NOTES_NEXT, NOTES_TIME } Note;

typedef struct {
    PyObject_HEAD
    PyObject *entries;        /* the index: an exact dict */
    PyTypeObject *entry_type;
    PyMemberDef *deadline, *value; /* its slots */
    PyMemberDef *noted;       /* what the policy notes at a hit */
    int is_monotonic;         /* whether the clock is time.monotonic; no other is read here */
    Note note;
    PyObject *ticks;          /* an iterator: NOTES_NEXT */
    PyObject *counter;        /* an iterator that is stepped, or a threading.local that has one as `hits`; or NULL */
    int is_counter_local;
    PyObject *hits_name;      /* interned */
} Lookup;

/* ---- slots */

static inline PyObject *read_slot(PyObject *entry, PyMemberDef *slot)
{
#ifdef Py_GIL_DISABLED
    PyObject *found = PyMember_GetOne((const char *)entry, slot);
    if (found == NULL) { PyErr_Clear(); } /* AttributeError: never set */
    return found;
#else
    return Py_XNewRef(*(PyObject **)((char *)entry + slot->offset));
#endif
}

/* Takes the reference to `value`. */
static inline int write_slot(PyObject *entry, PyMemberDef *slot, PyObject *value)
{
    if (value == NULL) { return -1; }
#ifdef Py_GIL_DISABLED
    int failed = PyMember_SetOne((char *)entry, slot, value);
    Py_DECREF(value);
    return failed;
#else
    PyObject **place = (PyObject **)((char *)entry + slot->offset), *old = *place;
    *place = value;
    Py_XDECREF(old);
    return 0;
#endif
}

/* ---- one lookup */

/* What was raised goes on, unless the Python code has its own way with it: TypeError and KeyError. */
static Outcome raised(void)
{
    if (PyErr_ExceptionMatches(PyExc_TypeError) || PyErr_ExceptionMatches(PyExc_KeyError)) {
        PyErr_Clear();
        return ODD;
    }
    return RAISED;
}

/* Read time.monotonic, as `time` does. */
static Outcome read_clock(double *now)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyTime_t reading;
    if (PyTime_Monotonic(&reading) < 0) { return raised(); }
    *now = PyTime_AsSecondsDouble(reading);
    return HIT;
#elif defined(__linux__)
    struct timespec reading;
    if (clock_gettime(CLOCK_MONOTONIC, &reading) != 0) { return ODD; }
    *now = (double)((long long)reading.tv_sec * 1000000000 + reading.tv_nsec) / 1e9;
    return HIT;
#else
    return ODD;
#endif
}

static inline Outcome is_live(Lookup *self, PyObject *deadline)
{
    if (deadline == Py_None) { return HIT; }
    if (deadline == NULL || !PyFloat_CheckExact(deadline)) { return ODD; }
    double end = PyFloat_AS_DOUBLE(deadline), now = 0;
    if (isinf(end) && end < 0) { return MISS; } /* unpublished */
    Outcome outcome = self->is_monotonic ? read_clock(&now) : ODD; /* a clock is read once in an operation */
    return outcome == HIT && !(end > now) ? MISS : outcome;
}

/* Raise `freq` up to three; a raise may be lost where two threads write, as in Python. */
static Outcome note_freq(Lookup *self, PyObject *entry)
{
    PyObject *freq = read_slot(entry, self->noted);
    if (freq == NULL || !PyLong_CheckExact(freq)) { Py_XDECREF(freq); return ODD; }
    long times = PyLong_AsLong(freq);
    Py_DECREF(freq);
    if (times >= 0 && times < 3 && write_slot(entry, self->noted, PyLong_FromLong(times + 1)) < 0) { return RAISED; }
    return HIT;
}

static inline Outcome note(Lookup *self, PyObject *entry)
{
    switch (self->note) {
    case NOTES_NOTHING: return HIT;
    case NOTES_FREQ: return note_freq(self, entry);
    case NOTES_NEXT: return write_slot(entry, self->noted, PyIter_Next(self->ticks)) < 0 ? RAISED : HIT;
    case NOTES_TIME: {
#if PY_VERSION_HEX >= 0x030D0000
        PyTime_t reading;
        if (PyTime_PerfCounter(&reading) < 0) { return RAISED; }
        return write_slot(entry, self->noted, PyLong_FromLongLong(reading)) < 0 ? RAISED : HIT;
#endif
    }
    }
    return ODD;
}

static Outcome count(Lookup *self)
{
    PyObject *hits = self->counter;
    if (self->is_counter_local) { /* of this thread alone */
        hits = PyObject_GetAttr(self->counter, self->hits_name);
        if (hits == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_AttributeError)) { return RAISED; }
            PyErr_Clear();
            return ODD; /* its first hit: the Python code starts a counter */
        }
    }
    PyObject *step = PyIter_Next(hits);
    if (self->is_counter_local) { Py_DECREF(hits); }
    Py_XDECREF(step);
    return step != NULL ? HIT : PyErr_Occurred() ? RAISED : ODD;
}

static inline Outcome read_entry(Lookup *self, PyObject *entry, PyObject **value)
{
    if (Py_TYPE(entry) != self->entry_type) { return ODD; }
    PyObject *deadline = read_slot(entry, self->deadline);
    Outcome outcome = is_live(self, deadline);
    Py_XDECREF(deadline);
    if (outcome != HIT) { return outcome; }
    PyObject *found = read_slot(entry, self->value);
    if (found == NULL) { return ODD; }
    if (self->counter != NULL) { outcome = count(self); } /* first: a thread's first hit is left to Python, unnoted */
    if (outcome == HIT && self->note != NOTES_NOTHING) { outcome = note(self, entry); }
    if (outcome != HIT) { Py_DECREF(found); return outcome; }
    *value = found;
    return HIT;
}

/* The one lookup: HIT gives `value`, a new reference; RAISED has set an exception, the others have not. */
static inline Outcome look_up(Lookup *self, PyObject *key, PyObject **value)
{
    PyObject *entry;
    int is_plain = PyUnicode_CheckExact(key) || PyLong_CheckExact(key);
    /* the hash of a key may come back here through C alone, which nothing else counts: `__hash__ = memoize(...)` */
    if (!is_plain && Py_EnterRecursiveCall(" in a lookup")) { return RAISED; }
#if PY_VERSION_HEX >= 0x030D0000
    int is_there = PyDict_GetItemRef(self->entries, key, &entry);
#else
    int is_there = (entry = Py_XNewRef(PyDict_GetItemWithError(self->entries, key))) ? 1 : PyErr_Occurred() ? -1 : 0;
#endif
    if (!is_plain) { Py_LeaveRecursiveCall(); }
    if (is_there <= 0) { return is_there == 0 ? MISS : raised(); }
    Outcome outcome = read_entry(self, entry, value);
    Py_DECREF(entry);
    return outcome;
}

/* ---- Lookup as an object */

static PyMemberDef *slot_of(PyTypeObject *type, const char *name)
{
    PyObject *descriptor = PyObject_GetAttrString((PyObject *)type, name);
    PyMemberDef *slot = NULL;
    if (descriptor == NULL) { return NULL; }
    if (Py_IS_TYPE(descriptor, &PyMemberDescr_Type) && PyType_IsSubtype(type, PyDescr_TYPE(descriptor))) {
        slot = ((PyMemberDescrObject *)descriptor)->d_member; /* lives as long as the type that has it */
        if (slot->type != T_OBJECT_EX) { slot = NULL; }
    }
    if (slot == NULL) { PyErr_Format(PyExc_TypeError, "Lookup: %s.%s is no slot", type->tp_name, name); }
    Py_DECREF(descriptor);
    return slot;
}

static PyObject *lookup_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"entries", "entry_type", "is_monotonic", "note", "noted", "ticks", "counter", NULL};
    PyObject *entries, *ticks, *counter;
    PyTypeObject *entry_type;
    int is_monotonic, note;
    const char *noted;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!pizOO:Lookup", names, &PyDict_Type, &entries, &PyType_Type,
                                     &entry_type, &is_monotonic, &note, &noted, &ticks, &counter)) {
        return NULL;
    }
    int needs_ticks = note == NOTES_NEXT;
    if (!PyDict_CheckExact(entries) || note < NOTES_NOTHING || note > NOTES_TIME || (note && noted == NULL) ||
        (needs_ticks && !PyIter_Check(ticks))) {
        PyErr_SetString(PyExc_TypeError, "Lookup: entries must be a dict, and note one of those that are known");
        return NULL;
    }
    Lookup *self = (Lookup *)type->tp_alloc(type, 0);
    if (self == NULL) { return NULL; }
    self->entries = Py_NewRef(entries); self->entry_type = (PyTypeObject *)Py_NewRef((PyObject *)entry_type);
    self->is_monotonic = is_monotonic; self->note = (Note)note; self->ticks = needs_ticks ? Py_NewRef(ticks) : NULL;
    self->counter = counter == Py_None ? NULL : Py_NewRef(counter);
    self->is_counter_local = self->counter != NULL && !PyIter_Check(counter);
    self->hits_name = PyUnicode_InternFromString("hits"); self->deadline = slot_of(entry_type, "deadline");
    self->value = self->deadline == NULL ? NULL : slot_of(entry_type, "value");
    self->noted = self->value == NULL || note == NOTES_NOTHING ? NULL : slot_of(entry_type, noted);
    if (PyErr_Occurred()) { Py_DECREF(self); return NULL; }
    return (PyObject *)self;
}

static int lookup_traverse(Lookup *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self)); Py_VISIT(self->entries); Py_VISIT(self->entry_type);
    Py_VISIT(self->ticks); Py_VISIT(self->counter);
    return 0;
}

static void lookup_dealloc(Lookup *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->entries); Py_CLEAR(self->entry_type); Py_CLEAR(self->ticks); Py_CLEAR(self->counter);
    Py_CLEAR(self->hits_name);
    type->tp_free(self);
    Py_DECREF(type);
}

/* No tp_clear: a cycle through a Lookup is one through its dict, an entry, or a Front or View, which can be cleared. */
static PyType_Slot lookup_slots[] = {
    {Py_tp_new, lookup_new}, {Py_tp_traverse, lookup_traverse}, {Py_tp_dealloc, lookup_dealloc},
    {Py_tp_doc, "How one cache is looked up: its dict of entries, and what a hit notes."}, {0, NULL},
};

static PyType_Spec lookup_spec = {
    .name = "areole._core._hit.Lookup", .basicsize = sizeof(Lookup), .slots = lookup_slots,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
};

typedef struct { PyTypeObject *lookup_type, *front_type, *view_type; PyObject *miss, *look_up; } State;
static struct PyModuleDef module_def;

typedef struct {
    PyObject_HEAD
    Lookup *lookup; /* NULL until `_attach`, and in a cache whose hits are not for this file */
} View;

/* ---- memoized functions
 *
 * What is called is a function of Python's own, with a vectorcall of ours (`PyFunction_SetVectorcall`). So whatever can
 * be asked of a function is answered as ever, threads do not contend for its count where functions are immortal
 * (3.13t) or have deferred counts (3.14t), and in a class it is a method without a bound object. Its `__globals__` is a
 * Front: a dict that also has what the vectorcall needs, found without touching a count.
 */

typedef struct {
    PyDictObject dict;
    Lookup *lookup;
    PyTypeObject *view_type;
    PyObject *whole;      /* the generated function: it looks up, and fills */
    PyObject *miss;       /* the same without its look */
    PyObject *names;      /* of the parameters, interned */
    PyObject *defaults, *missing; /* as many as there are names; `missing` where there is none */
    PyObject *in_key;     /* a bytes object: for each parameter, whether it is a part of the key */
    Py_ssize_t key_length;
    Py_ssize_t positional_only, positional; /* so many may be given by position */
    int is_single;        /* f(k): the key is the one argument */
    int is_whole;         /* all parameters, in order, are the key */
} Front;

static Py_ssize_t index_of(Front *self, PyObject *name)
{
    Py_ssize_t size = PyTuple_GET_SIZE(self->names);
    for (Py_ssize_t i = self->positional_only; i < size; i++) {
        if (PyTuple_GET_ITEM(self->names, i) == name) { return i; }
    }
    return -1; /* unknown, or not interned: the Python code sees */
}

enum { MOST_PARAMETERS = 16 };

/* Return the key of a call, a new reference; NULL without an exception: the Python code is to see. */
static PyObject *make_key(Front *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t size = PyTuple_GET_SIZE(self->names);
    if (self->is_whole && nargs == size && kwnames == NULL) {
        PyObject *key = PyTuple_New(size);
        for (Py_ssize_t i = 0; key != NULL && i < size; i++) { PyTuple_SET_ITEM(key, i, Py_NewRef(args[i])); }
        return key;
    }
    PyObject *bound[MOST_PARAMETERS] = {NULL};
    if (nargs > self->positional) { return NULL; }
    for (Py_ssize_t i = 0; i < nargs; i++) { bound[i] = args[i]; }
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < keywords; i++) {
        Py_ssize_t place = index_of(self, PyTuple_GET_ITEM(kwnames, i));
        if (place < 0 || bound[place] != NULL) { return NULL; }
        bound[place] = args[nargs + i];
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        if (bound[i] == NULL && (bound[i] = PyTuple_GET_ITEM(self->defaults, i)) == self->missing) { return NULL; }
    }
    const char *in_key = PyBytes_AS_STRING(self->in_key);
    PyObject *key = self->is_single ? NULL : PyTuple_New(self->key_length);
    for (Py_ssize_t i = 0, place = 0; i < size && (self->is_single || key != NULL); i++) {
        if (!in_key[i]) { continue; }
        if (self->is_single) { return Py_NewRef(bound[i]); }
        PyTuple_SET_ITEM(key, place++, Py_NewRef(bound[i]));
    }
    return key;
}

static inline Front *front_of(PyObject *function)
{
    Front *self = (Front *)((PyFunctionObject *)function)->func_globals;
    if (self == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "areole: this function has been cleared by the garbage collector");
    }
    return self;
}

static PyObject *call_front(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Front *self = front_of(callable);
    if (self == NULL) { return NULL; }
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyObject *value = NULL;
    Outcome outcome = ODD;
    if (self->is_single && nargs == 1 && kwnames == NULL && self->is_whole) {
        outcome = look_up(self->lookup, args[0], &value);
    }
    else {
        PyObject *key = make_key(self, args, nargs, kwnames);
        if (key != NULL) {
            outcome = look_up(self->lookup, key, &value);
            Py_DECREF(key);
        }
        else if (PyErr_Occurred()) { return NULL; }
    }
    if (outcome == HIT || outcome == RAISED) { return value; }
    return PyObject_Vectorcall(outcome == MISS ? self->miss : self->whole, args, nargsf, kwnames);
}

static int front_traverse(Front *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self)); Py_VISIT(self->lookup); Py_VISIT(self->view_type); Py_VISIT(self->whole);
    Py_VISIT(self->miss); Py_VISIT(self->names); Py_VISIT(self->defaults); Py_VISIT(self->missing);
    return PyDict_Type.tp_traverse((PyObject *)self, visit, arg);
}

static void front_dealloc(Front *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->lookup); Py_CLEAR(self->view_type); Py_CLEAR(self->whole); Py_CLEAR(self->miss);
    Py_CLEAR(self->names); Py_CLEAR(self->defaults); Py_CLEAR(self->missing); Py_CLEAR(self->in_key);
    PyDict_Type.tp_dealloc((PyObject *)self); /* frees the object by the type's tp_free */
    Py_DECREF(type);
}

static int front_clear(Front *self) { return PyDict_Type.tp_clear((PyObject *)self); } /* calls need none of that */
static PyType_Slot front_slots[] = {
    {Py_tp_traverse, front_traverse}, {Py_tp_clear, front_clear}, {Py_tp_dealloc, front_dealloc},
    {Py_tp_doc, "The globals of an accelerated function, which has in them what its calls need."}, {0, NULL},
};

static PyType_Spec front_spec = {
    .name = "areole._core._hit.Front", .basicsize = sizeof(Front), .slots = front_slots,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

static Front *new_front(State *state, PyObject *whole)
{
    PyObject *empty = PyTuple_New(0);
    Front *self = empty == NULL ? NULL : (Front *)PyDict_Type.tp_new(state->front_type, empty, NULL);
    Py_XDECREF(empty);
    if (self == NULL) { return NULL; }
    self->whole = Py_NewRef(whole); self->view_type = (PyTypeObject *)Py_NewRef((PyObject *)state->view_type);
    /* for whoever runs the code by itself */
    if (PyDict_Update((PyObject *)self, ((PyFunctionObject *)whole)->func_globals) < 0) { Py_CLEAR(self); }
    return self;
}

/* Return a function with the code of `whole`, these globals, whose reference is taken, and this vectorcall. */
static PyObject *function_with(Front *self, vectorcallfunc call)
{
    PyFunctionObject *whole = (PyFunctionObject *)self->whole;
    PyObject *defaults = whole->func_defaults, *kwdefaults = whole->func_kwdefaults;
    PyObject *made = PyFunction_NewWithQualName(whole->func_code, (PyObject *)self, whole->func_qualname);
    Py_DECREF(self);
    if (made == NULL) { return NULL; }
    if ((defaults != NULL && PyFunction_SetDefaults(made, defaults) < 0) ||
        (kwdefaults != NULL && PyFunction_SetKwDefaults(made, kwdefaults) < 0)) {
        Py_DECREF(made);
        return NULL;
    }
    PyFunction_SetVectorcall((PyFunctionObject *)made, call);
    return made;
}

/* front(whole, miss, lookup, names, defaults, missing, in_key, positional_only, positional): make the function. */
static PyObject *make_front(PyObject *module, PyObject *args)
{
    State *state = PyModule_GetState(module);
    PyObject *whole, *miss, *lookup, *names, *defaults, *missing, *in_key;
    Py_ssize_t positional_only, positional;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!OO!nn:front", &PyFunction_Type, &whole, &PyFunction_Type, &miss,
                          state->lookup_type, &lookup, &PyTuple_Type, &names, &PyTuple_Type, &defaults, &missing,
                          &PyBytes_Type, &in_key, &positional_only, &positional)) {
        return NULL;
    }
    Py_ssize_t size = PyTuple_GET_SIZE(names);
    if (size > MOST_PARAMETERS || PyTuple_GET_SIZE(defaults) != size || PyBytes_GET_SIZE(in_key) != size ||
        positional_only < 0 || positional_only > positional || positional > size) {
        PyErr_SetString(PyExc_ValueError, "front: these parameters do not fit together");
        return NULL;
    }
    Front *self = new_front(state, whole);
    if (self == NULL) { return NULL; }
    self->lookup = (Lookup *)Py_NewRef(lookup); self->miss = Py_NewRef(miss); self->names = Py_NewRef(names);
    self->defaults = Py_NewRef(defaults); self->missing = Py_NewRef(missing); self->in_key = Py_NewRef(in_key);
    self->positional_only = positional_only; self->positional = positional;
    for (Py_ssize_t i = 0; i < size; i++) { self->key_length += PyBytes_AS_STRING(in_key)[i] != 0; }
    self->is_single = self->key_length == 1; self->is_whole = self->key_length == size && positional == size;
    return function_with(self, call_front);
}

/* ---- `get` of caches: the method that is written in Python, with a vectorcall of ours */

static PyObject *call_get(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Front *self = front_of(callable);
    if (self == NULL) { return NULL; }
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if ((nargs == 2 || nargs == 3) && kwnames == NULL && PyObject_TypeCheck(args[0], self->view_type)) {
        Lookup *lookup = ((View *)args[0])->lookup;
        PyObject *value = NULL;
        Outcome outcome = lookup == NULL ? ODD : look_up(lookup, args[1], &value);
        if (outcome == HIT || outcome == RAISED) { return value; }
    }
    return PyObject_Vectorcall(self->whole, args, nargsf, kwnames);
}

static PyObject *make_get_front(PyObject *module, PyObject *whole)
{
    State *state = PyModule_GetState(module);
    if (!PyFunction_Check(whole)) {
        PyErr_SetString(PyExc_TypeError, "get_front: takes a function");
        return NULL;
    }
    Front *self = new_front(state, whole);
    return self == NULL ? NULL : function_with(self, call_get);
}

/* ---- caches: View is a base of theirs, which has what `cache[key]` and `get` need */

static PyObject *view_subscript(View *self, PyObject *key)
{
    PyObject *value = NULL;
    Outcome outcome = self->lookup == NULL ? ODD : look_up(self->lookup, key, &value);
    if (outcome == HIT || outcome == RAISED) { return value; }
    PyObject *module = PyType_GetModuleByDef(Py_TYPE(self), &module_def), *call[] = {(PyObject *)self, key, Py_None};
    if (module == NULL) { return NULL; }
    State *state = PyModule_GetState(module);
    if (outcome == MISS) { return PyObject_VectorcallMethod(state->miss, call, 3, NULL); }
    return PyObject_VectorcallMethod(state->look_up, call, 2, NULL);
}

static PyObject *view_attach(View *self, PyTypeObject *view_type, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    State *state = PyType_GetModuleState(view_type);
    int is_one = state != NULL && nargs == 1 && kwnames == NULL;
    if (!is_one || self->lookup || !(args[0] == Py_None || Py_IS_TYPE(args[0], state->lookup_type))) {
        PyErr_SetString(PyExc_TypeError, "a cache is made once: its __init__ was called again; make another one");
        return NULL;
    }
    if (args[0] != Py_None) { self->lookup = (Lookup *)Py_NewRef(args[0]); } /* it is its maker's alone till then */
    Py_RETURN_NONE;
}

static int view_traverse(View *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self)); Py_VISIT(self->lookup);
    return 0;
}

static void view_dealloc(View *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->lookup);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef view_methods[] = {
    {"_attach", (PyCFunction)(void (*)(void))view_attach, METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "Have hits looked up by a Lookup, from now on; None: in Python. Once."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot view_slots[] = {
    {Py_tp_traverse, view_traverse}, {Py_tp_dealloc, view_dealloc}, {Py_tp_methods, view_methods},
    {Py_mp_subscript, view_subscript}, {Py_tp_doc, "What caches are made of whose hits are looked up in C."},
    {0, NULL},
};

static PyType_Spec view_spec = {
    .name = "areole._core._hit.View", .basicsize = sizeof(View), .slots = view_slots,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
};

/* ---- the module */

static PyMethodDef functions[] = {
    {"front", make_front, METH_VARARGS, "Make the function of which a hit is looked up here."},
    {"get_front", make_get_front, METH_O, "Make the `get` of caches of one that is written in Python."},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->lookup_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &lookup_spec, NULL);
    if (state->lookup_type == NULL || PyModule_AddType(module, state->lookup_type) < 0) { return -1; }
    state->front_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &front_spec, (PyObject *)&PyDict_Type);
    state->view_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &view_spec, NULL);
    state->miss = PyUnicode_InternFromString("_miss"); state->look_up = PyUnicode_InternFromString("_look_up");
    if (!(state->front_type && state->view_type && state->miss && state->look_up)) { return -1; }
    return PyModule_AddType(module, state->view_type);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->lookup_type); Py_VISIT(state->front_type); Py_VISIT(state->view_type);
    return 0;
}

static int module_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->lookup_type); Py_CLEAR(state->front_type); Py_CLEAR(state->view_type);
    Py_CLEAR(state->miss); Py_CLEAR(state->look_up);
    return 0;
}

static void module_free(void *module) { module_clear((PyObject *)module); }

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "areole._core._hit", .m_doc = "Hits in C; see docs/accelerator.md.", .m_size = sizeof(State),
    .m_methods = functions, .m_slots = module_slots,
    .m_traverse = module_traverse, .m_clear = module_clear, .m_free = module_free,
};

PyMODINIT_FUNC PyInit__hit(void) { return PyModuleDef_Init(&module_def); }
