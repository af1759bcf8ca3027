package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Moment is a flag of one of production's events, or of a time that stands for the last event before it.
type Moment struct {
	Event int64
	Time  time.Time // zero: an event is given, or nothing
}

const momentForms = "an event's number, a day such as 2026-11-01, or a time such as 2026-11-01T12:00:00Z"

func (m *Moment) String() string {
	switch {
	case !m.Time.IsZero():
		return m.Time.Format(time.RFC3339)
	case m.Event != 0:
		return strconv.FormatInt(m.Event, 10)
	}
	return ""
}

func (m *Moment) Type() string { return "EVENT|DATE" }

// Set takes a number, a day, which begins at midnight UTC, or a time of RFC 3339.
func (m *Moment) Set(s string) error {
	*m = Moment{}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n == 0 {
			return fmt.Errorf("%q is no event: they count from 1 to 2147483647", s)
		}
		m.Event = n
		return nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil && t.Unix() > 0 {
			m.Time = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("%q is not %s", s, momentForms)
}

// ofTOML is a value of the configuration as Set takes it: TOML has times of its own.
func (m *Moment) ofTOML(v any) any {
	t, ok := v.(time.Time)
	switch {
	case !ok:
		return v
	case t.Location().String() == "date-local":
		return t.Format(time.DateOnly)
	case strings.HasSuffix(t.Location().String(), "-local"): // without an offset nobody knows when that is
		return t.Format("2006-01-02T15:04:05")
	}
	return t.Format(time.RFC3339)
}
