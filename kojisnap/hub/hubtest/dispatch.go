package hubtest

import (
	"net/http"
	"runtime"
	"runtime/debug"
)

// call is one call of a method, with its arguments bound to their names.
type call struct {
	srv    *Server
	view   View
	args   map[string]any
	rest   []any   // *args
	kwargs *Struct // **kwargs
	alone  bool    // the request's only call
}

// answer is the body of the reply to a call.
func (s *Server) answer(method string, params []any, r *http.Request) (reply body) {
	fault := catch(func() {
		view, err := s.src.View(r.Context())
		if err != nil {
			s.log.Error("no database", "err", err)
			panic(offline("database outage"))
		}
		defer view.Close()
		defer s.typeError(method) // of generators
		session(r)
		reply = encodeResult(s.dispatch(view, method, params, true))
	})
	if fault != nil {
		s.log.Debug("fault", "method", method, "code", fault.Code, "text", fault.Text)
		return encodeFault(fault.Code, fault.wire())
	}
	return reply
}

// dispatch calls a method with the params of a request.
func (s *Server) dispatch(view View, method string, params []any, alone bool) any {
	s.counted(method)
	args, named := decodeArgs(params)
	if method == "multiCall" || method == "system.multicall" {
		return s.multiCall(view, args, named)
	}
	return s.invoke(view, method, args, named, alone)
}

// invoke calls a method of the registry: multiCall is none.
func (s *Server) invoke(view View, method string, args []any, named *Struct, alone bool) any {
	if s.opts.Fault != nil {
		if fault := s.opts.Fault(method, args); fault != nil {
			panic(fault)
		}
	}
	sig := s.signatures()[method]
	if sig == nil {
		generic("Invalid method: %s", method)
	}
	f := methods[method]
	if f == nil {
		generic("hubtest does not offer the method %s", method)
	}
	c := &call{srv: s, view: view, alone: alone}
	c.args, c.rest, c.kwargs = sig.bind(args, named)
	defer s.typeError(method)
	return f(c)
}

// typeError, deferred, makes Python's TypeError of a value that is of the wrong
// type deep in a method.
func (s *Server) typeError(method string) {
	switch r := recover().(type) {
	case nil:
	case runtime.Error:
		s.log.Error("method panicked", "method", method, "err", r, "stack", string(debug.Stack()))
		exception("TypeError", "%v", r)
	default:
		panic(r)
	}
}

// table returns a table of the call's view.
func (c *call) table(name string) *Table {
	t, err := c.view.Table(name)
	if err != nil {
		c.srv.log.Error("table is unreadable", "relation", name, "err", err)
		exception("psycopg2.OperationalError", "%v", err)
	}
	return t
}

// arg returns an argument, its default if the caller gave none.
func (c *call) arg(name string) any { return c.args[name] }

func (c *call) flag(name string) bool { return truth(c.args[name]) }
