package python

import "fmt"

// Fault is an XML-RPC fault. Class is the Python exception that a real hub raises; the text of faults with
// code 1 has it.
type Fault struct {
	Code  int64
	Class string
	Text  string
	Plain bool // raised as xmlrpc's Fault, not as one of Koji's exceptions
}

func (f *Fault) Error() string { return fmt.Sprintf("fault %d: %s", f.Code, f.Text) }

// Wire returns the faultString of a call outside a multicall. A real hub puts a traceback there if the
// exception is not one of Koji's.
func (f *Fault) Wire() string {
	if f.Code != 1 {
		return f.Text
	}
	return "Traceback (most recent call last):\n" + f.line()
}

// line is the last line of Python's traceback.
func (f *Fault) line() string { return f.Class + ": " + f.Str() + "\n" }

// Str returns Python's str of the exception.
func (f *Fault) Str() string {
	if f.Class == "KeyError" {
		return StringRepr(f.Text)
	}
	return f.Text
}

// Member returns the fault as an element of a multicall's result.
func (f *Fault) Member() *Struct {
	s := NewStruct("faultCode", f.Code, "faultString", f.Text)
	if !f.Plain {
		s.Set("traceback", []any{"Traceback (most recent call last):\n", f.line()})
	}
	return s
}

// Generic raises Koji's GenericError.
func Generic(format string, args ...any) {
	panic(&Fault{Code: 1000, Class: "koji.GenericError", Text: fmt.Sprintf(format, args...)})
}

// Parameter raises Koji's ParameterError.
func Parameter(format string, args ...any) {
	panic(&Fault{Code: 1019, Class: "koji.ParameterError", Text: fmt.Sprintf(format, args...)})
}

// Exception raises an exception that is not Koji's: fault 1.
func Exception(class, format string, args ...any) {
	panic(&Fault{Code: 1, Class: class, Text: fmt.Sprintf(format, args...)})
}

// Offline is Koji's ServerOffline.
func Offline(text string) *Fault {
	return &Fault{Code: 1014, Class: "koji.ServerOffline", Text: text}
}

// Catch runs f and returns the fault that it raised, if any.
func Catch(f func()) (fault *Fault) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Fault:
			fault = r
		default:
			panic(r)
		}
	}()
	f()
	return nil
}
