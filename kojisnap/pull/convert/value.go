package convert

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
)

// valueError says that a column cannot have this value, although the hub's method sent it correctly:
// production has a wrong value in this row. Each other error of appendColumn is about the hub, so all rows
// have it.
type valueError struct{ error }

func badValue(format string, args ...any) error { return valueError{fmt.Errorf(format, args...)} }

// appendColumn appends a value of the hub as COPY text, before escaping.
func appendColumn(dst []byte, c *relation.Column, v hub.Value) (out []byte, null bool, err error) {
	switch v.Kind() {
	case hub.Missing:
		if c.Since == 0 {
			return dst, false, fmt.Errorf("the hub's row has no such member")
		}
		if c.Missing == `\N` {
			return dst, true, nil
		}
		return append(dst, c.Missing...), false, nil
	case hub.Nil:
		if !c.Null {
			return dst, false, badValue("NULL where Koji's schema has none")
		}
		return dst, true, nil
	case hub.Bad:
		return dst, false, valueError{v.Bad()}
	}
	switch c.Type {
	case relation.Int4, relation.Int8:
		n, ok := v.Int()
		if !ok {
			return dst, false, fmt.Errorf("%s, not a number", v.Kind())
		}
		if c.Type == relation.Int4 && n != int64(int32(n)) {
			return dst, false, badValue("%d does not fit an integer", n)
		}
		return strconv.AppendInt(dst, n, 10), false, nil
	case relation.Bool:
		b, ok := v.Bool()
		if !ok {
			return dst, false, fmt.Errorf("%s, not a boolean", v.Kind())
		}
		return append(dst, "ft"[btoi(b)]), false, nil
	case relation.Time:
		ts, ok := v.Float()
		if !ok {
			return dst, false, fmt.Errorf("%s, not seconds since 1970", v.Kind())
		}
		out, err := AppendTime(dst, ts)
		return out, false, err
	}
	switch v.Kind() {
	case hub.String:
		return append(dst, v.Text()...), false, nil
	case hub.Struct, hub.Array, hub.Int, hub.Double, hub.Bool:
		// A text column with JSON, which the hub sends parsed.
		if c.Name == "extra" {
			out, err := v.JSON(dst)
			if err != nil {
				return dst, false, valueError{err}
			}
			return out, false, nil
		}
	}
	return dst, false, fmt.Errorf("%s, not text", v.Kind())
}

// The range of PostgreSQL's timestamptz in seconds since 1970: from 4713 BC to before 294277 AD
// (datatype/timestamp.h).
const (
	firstTime = -210866803200
	endOfTime = 9224318016000
)

// AppendTime appends a time as PostgreSQL writes timestamptz in UTC. Koji sends seconds since 1970 as a
// double (date_part), which has microseconds until the year 2255.
func AppendTime(dst []byte, ts float64) ([]byte, error) {
	switch {
	case math.IsInf(ts, 1):
		return append(dst, "infinity"...), nil
	case math.IsInf(ts, -1):
		return append(dst, "-infinity"...), nil
	case math.IsNaN(ts), ts < firstTime, ts >= endOfTime:
		return dst, badValue("%v is not a time of Koji", ts)
	}
	t := toTime(ts)
	year, era := t.Year(), ""
	if year < 1 {
		year, era = 1-year, " BC" // the year 0 of Go and ISO 8601 is 1 BC
	}
	dst = fmt.Appendf(dst, "%04d", year)
	dst = t.AppendFormat(dst, "-01-02 15:04:05.999999")
	return append(append(dst, "+00"...), era...), nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Climbs returns the column of a row whose text would lead out of its directory.
func Climbs(rel *relation.Relation, row [][]byte) (column string, err error) {
	if i, climbs := rel.Climbing(row); climbs {
		return rel.Columns[i].Name, badValue("%.200q %s", row[i], relation.ClimbsReason)
	}
	return "", nil
}

// EventTime returns the time of an event from the seconds since 1970 that the hub sends. JSON, and so a
// manifest, must be able to represent it.
func EventTime(ts float64) (time.Time, error) {
	t := toTime(ts)
	if math.IsNaN(ts) || math.IsInf(ts, 0) || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("%v is not a time of Koji", ts)
	}
	return t, nil
}

// toTime returns the time from seconds since 1970, as Koji sends times.
func toTime(ts float64) time.Time {
	whole, part := math.Modf(ts)
	return time.Unix(int64(whole), int64(math.Round(part*1e6))*1000).UTC()
}
