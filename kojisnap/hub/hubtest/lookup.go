package hubtest

// whereNameOrID adds Koji's condition on an object that is given by its id, its
// name or a struct with one of them.
func whereNameOrID(q *query, alias string, info any) *query {
	given := info
	if s, ok := info.(*Struct); ok {
		if id, ok := s.Get("id"); ok {
			n, ok := integer(id)
			if !ok {
				parameter("Invalid name or id value: %s", repr(given))
			}
			info = n
		} else if name, ok := s.Get("name"); ok {
			info = name
		} else {
			parameter("Invalid name or id value: %s", repr(given))
		}
	}
	if n, ok := integer(info); ok {
		return q.eq(alias+".id", n)
	}
	if name, ok := info.(string); ok {
		return q.eq(alias+".name", name)
	}
	parameter("Invalid name or id value: %s", repr(given))
	return nil
}

// lookupName is Koji's lookup_name: a struct of id and name, or nil.
func (c *call) lookupName(table string, info any, strict bool) *Struct {
	found := whereNameOrID(c.from(table), table, info).fieldList("id, name").one()
	if found == nil && strict {
		generic("No such entry in table %s: %s", table, str(info))
	}
	return found
}

// getID is Koji's get_id: nil if there is no such object.
func (c *call) getID(table string, info any, strict bool) any {
	if s := c.lookupName(table, info, strict); s != nil {
		return s.Val("id")
	}
	return nil
}

// orNil keeps a nil *Struct from becoming a value that is not nil.
func orNil(s *Struct) any {
	if s == nil {
		return nil
	}
	return s
}
