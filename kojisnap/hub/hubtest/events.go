package hubtest

func selectEvents(c *call) *query {
	q := c.from("events").fieldList("id")
	return q.epoch("ts", "events.time")
}

func getEvent(c *call) any {
	id, _ := toInt(c.arg("id"), false)
	found := selectEvents(c).eq("events.id", id).one()
	if found == nil && c.flag("strict") {
		generic("query returned no rows")
	}
	return orNil(found)
}

// getLastEvent is the event of the highest id that is older than before: ids,
// not times, decide.
func getLastEvent(c *call) any {
	q := selectEvents(c)
	if before := c.arg("before"); before != nil {
		limit, ok := before.(float64)
		if n, isInt := integer(before); isInt {
			limit, ok = float64(n), true
		}
		if !ok {
			generic("Invalid type for before: %s", typeName(before))
		}
		at := q.ref("events.time")
		q.where(func(t tuple) bool { e, ok := epoch(at(t)).(float64); return ok && e < limit })
	}
	last := q.execute(NewStruct("order", "-id", "limit", int64(1))).([]any)
	if len(last) == 0 {
		if c.flag("strict") {
			generic("query returned no rows")
		}
		return nil
	}
	return last[0]
}
