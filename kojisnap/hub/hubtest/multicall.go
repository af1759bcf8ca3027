package hubtest

// multiCall runs calls one after the other. A fault is the result of its call
// only, but a generator's fault, raised while the reply is encoded, is the
// whole reply's.
func (s *Server) multiCall(view View, args []any, named *Struct) any {
	sig := signature{python: "ModXMLRPCRequestHandler.multiCall", self: true, params: []param{{name: "calls"}}}
	values, _, _ := sig.bind(args, named)
	calls, ok := values["calls"].([]any)
	if !ok {
		exception("TypeError", "%s object is not iterable", typeName(values["calls"]))
	}
	results := []any{}
	for _, c := range calls {
		var result any
		fault := catch(func() {
			name, params := callOf(c)
			result = []any{s.dispatch(view, name, params, false)}
		})
		if fault != nil {
			result = fault.member()
		}
		results = append(results, result)
	}
	return results
}

func callOf(c any) (method string, params []any) {
	s, ok := c.(*Struct)
	if !ok {
		exception("TypeError", "string indices must be integers, not 'str'")
	}
	for _, key := range []string{"methodName", "params"} {
		if _, ok := s.Get(key); !ok {
			exception("KeyError", "%s", key)
		}
	}
	params, ok = s.Val("params").([]any)
	if !ok {
		exception("TypeError", "Value after * must be an iterable, not %s", typeName(s.Val("params")))
	}
	return str(s.Val("methodName")), params
}
