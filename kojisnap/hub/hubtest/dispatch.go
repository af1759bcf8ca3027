package hubtest

import (
	"net/http"
	"runtime"
	"runtime/debug"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
	"kojisnap/kojisnap/hub/hubtest/xmlrpc"
)

// call is one call of a method, with its arguments bound to their names.
type call struct {
	srv    *Server
	view   kojidb.View
	args   map[string]any
	rest   []any          // *args
	kwargs *python.Struct // **kwargs
	alone  bool           // the request's only call
}

// answer is the body of the reply to a call.
func (s *Server) answer(method string, params []any, r *http.Request) (reply xmlrpc.Body) {
	fault := python.Catch(func() {
		view, err := s.src.View(r.Context())
		if err != nil {
			s.log.Error("no database", "err", err)
			panic(python.Offline("database outage"))
		}
		defer view.Close()
		defer s.typeError(method) // for generators
		session(r)
		reply = xmlrpc.Result(s.dispatch(view, method, params, true))
	})
	if fault != nil {
		s.log.Debug("fault", "method", method, "code", fault.Code, "text", fault.Text)
		return xmlrpc.Fault(fault.Code, fault.Wire())
	}
	return reply
}

// dispatch calls a method with the params of a request.
func (s *Server) dispatch(view kojidb.View, method string, params []any, alone bool) any {
	s.counted(method)
	args, named := decodeArgs(params)
	if method == "multiCall" || method == "system.multicall" {
		return s.multiCall(view, args, named)
	}
	return s.invoke(view, method, args, named, alone)
}

// invoke calls a method of the registry, which does not have multiCall.
func (s *Server) invoke(view kojidb.View, method string, args []any, named *python.Struct, alone bool) any {
	if s.opts.Fault != nil {
		if fault := s.opts.Fault(method, args); fault != nil {
			panic(fault)
		}
	}
	sig := s.signatures()[method]
	if sig == nil {
		python.Generic("Invalid method: %s", method)
	}
	f := methods[method]
	if f == nil {
		python.Generic("hubtest does not offer the method %s", method)
	}
	c := &call{srv: s, view: view, alone: alone}
	c.args, c.rest, c.kwargs = sig.bind(args, named)
	defer s.typeError(method)
	return f(c)
}

// typeError turns a panic about a value's type, deep in a method, into Python's TypeError. Call it with
// defer.
func (s *Server) typeError(method string) {
	switch r := recover().(type) {
	case nil:
	case runtime.Error:
		s.log.Error("method panicked", "method", method, "err", r, "stack", string(debug.Stack()))
		python.Exception("TypeError", "%v", r)
	default:
		panic(r)
	}
}

// Table returns a table of the call's view.
func (c *call) Table(name string) *kojidb.Table {
	t, err := c.view.Table(name)
	if err != nil {
		c.srv.log.Error("table is unreadable", "relation", name, "err", err)
		python.Exception("psycopg2.OperationalError", "%v", err)
	}
	return t
}

// Alone reports whether this is the request's only call.
func (c *call) Alone() bool { return c.alone }

// from starts a query over a table.
func (c *call) from(table string) *query.Query { return query.From(c, table) }

// arg returns an argument, or its default if the caller gave none.
func (c *call) arg(name string) any { return c.args[name] }

func (c *call) flag(name string) bool { return python.Truth(c.args[name]) }

// multiCall runs calls in order. A fault is the result of only its own call. But a fault in a generator
// occurs while the reply is encoded, and faults the whole reply.
func (s *Server) multiCall(view kojidb.View, args []any, named *python.Struct) any {
	sig := signature{python: "ModXMLRPCRequestHandler.multiCall", self: true, params: []param{{name: "calls"}}}
	values, _, _ := sig.bind(args, named)
	calls, ok := values["calls"].([]any)
	if !ok {
		python.Exception("TypeError", "%s object is not iterable", python.TypeName(values["calls"]))
	}
	results := []any{}
	for _, c := range calls {
		var result any
		fault := python.Catch(func() {
			name, params := callOf(c)
			result = []any{s.dispatch(view, name, params, false)}
		})
		if fault != nil {
			result = fault.Member()
		}
		results = append(results, result)
	}
	return results
}

func callOf(c any) (method string, params []any) {
	s, ok := c.(*python.Struct)
	if !ok {
		python.Exception("TypeError", "string indices must be integers, not 'str'")
	}
	for _, key := range []string{"methodName", "params"} {
		if _, ok := s.Get(key); !ok {
			python.Exception("KeyError", "%s", key)
		}
	}
	params, ok = s.Val("params").([]any)
	if !ok {
		python.Exception("TypeError", "Value after * must be an iterable, not %s", python.TypeName(s.Val("params")))
	}
	return python.Str(s.Val("methodName")), params
}
