package python

import (
	"math"
	"slices"
	"time"
)

// Struct is an XML-RPC struct whose members keep their order, as Python's
// dicts do. Rows of one query share Keys, so Set never changes it in place.
type Struct struct {
	Keys []string
	Vals []any
}

// NewStruct makes a struct from pairs of name and value.
func NewStruct(pairs ...any) *Struct {
	s := &Struct{}
	for i := 0; i < len(pairs); i += 2 {
		s.Set(pairs[i].(string), pairs[i+1])
	}
	return s
}

// Get returns the member key and whether there is one.
func (s *Struct) Get(key string) (any, bool) {
	if i := slices.Index(s.Keys, key); i >= 0 {
		return s.Vals[i], true
	}
	return nil, false
}

// Val returns the member key, nil if there is none.
func (s *Struct) Val(key string) any {
	v, _ := s.Get(key)
	return v
}

// Set changes the member key, or adds it at the end.
func (s *Struct) Set(key string, v any) {
	if i := slices.Index(s.Keys, key); i >= 0 {
		s.Vals[i] = v
		return
	}
	s.Keys = append(slices.Clip(s.Keys), key)
	s.Vals = append(s.Vals, v)
}

// Delete removes the member key.
func (s *Struct) Delete(key string) {
	if i := slices.Index(s.Keys, key); i >= 0 {
		s.Keys = slices.Delete(slices.Clone(s.Keys), i, i+1)
		s.Vals = slices.Delete(s.Vals, i, i+1)
	}
}

// Clone copies the struct, not its members' values.
func (s *Struct) Clone() *Struct {
	return &Struct{Keys: s.Keys, Vals: slices.Clone(s.Vals)}
}

// Time is a timestamptz: microseconds since 1970 in UTC.
type Time int64

// PostgreSQL's infinity and -infinity.
const (
	Infinity    Time = math.MaxInt64
	NegInfinity Time = math.MinInt64
)

// String returns Python's isoformat(" ") for the time in a session in UTC. It has no fraction if that is
// zero. As in psycopg2, the infinite times are the first and the last time of Python.
func (t Time) String() string {
	switch t {
	case Infinity:
		return "9999-12-31 23:59:59.999999+00:00"
	case NegInfinity:
		return "0001-01-01 00:00:00+00:00"
	}
	u := time.UnixMicro(int64(t)).UTC()
	if u.Nanosecond() == 0 {
		return u.Format("2006-01-02 15:04:05+00:00")
	}
	return u.Format("2006-01-02 15:04:05.000000+00:00")
}

// Epoch is PostgreSQL's date_part('epoch', …).
func (t Time) Epoch() float64 {
	switch t {
	case Infinity:
		return math.Inf(1)
	case NegInfinity:
		return math.Inf(-1)
	}
	return float64(t) / 1e6
}

// Fetched converts a value as psycopg2 does. A time in a year that Python does not have raises a ValueError.
func Fetched(v any) any {
	if t, ok := v.(Time); ok && t != Infinity && t != NegInfinity {
		if year := time.UnixMicro(int64(t)).UTC().Year(); year < 1 || year > 9999 {
			if year < 1 {
				year-- // PostgreSQL and psycopg2 have no year 0
			}
			Exception("ValueError", "year %d is out of range", year)
		}
	}
	return v
}

// Binary is sent as base64, DateTime as dateTime.iso8601. A hub never makes them; it only echoes them.
type (
	Binary   []byte
	DateTime string
)

// Generator is a result that the hub computes while it encodes the reply: in a multicall after all calls, so
// that a fault in it faults the whole reply. Each calls f with one element after the other. An element is
// valid only during the call.
type Generator struct{ Each func(f func(any)) }

// Run returns all elements.
func (g *Generator) Run() []any {
	out := []any{}
	g.Each(func(v any) {
		switch row := v.(type) {
		case *Struct:
			v = row.Clone()
		case []any:
			v = slices.Clone(row)
		}
		out = append(out, v)
	})
	return out
}

// Truth is Python's truth value.
func Truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case *Struct:
		return len(v.Keys) > 0
	}
	return true
}

// Integer returns the value of what Python's isinstance(v, int) accepts.
func Integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func AsString(v any) string { s, _ := v.(string); return s }

func AsInt(v any) int64 { n, _ := Integer(v); return n }
