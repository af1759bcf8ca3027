package config

import (
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

// TestMoment: an event or a time, as a flag and in a configuration.
func TestMoment(t *testing.T) {
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]Moment{
		"12345":                     {Event: 12345},
		"2026-11-01":                {Time: day},
		"2026-11-01T12:00:00Z":      {Time: day.Add(12 * time.Hour)},
		"2026-11-01T12:00:00+02:00": {Time: day.Add(10 * time.Hour)},
	} {
		var got Moment
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		for _, value := range []string{`"` + text + `"`, text} { // TOML has times of its own
			var table map[string]any
			if _, err := toml.Decode("since = "+value, &table); err != nil {
				t.Fatal(err)
			}
			var got Moment
			if err := assign(&got, table["since"]); err != nil || got != want {
				t.Errorf("since = %s: %+v, %v", value, got, err)
			}
		}
	}
	for _, text := range []string{"", "0", "-3", "12 ", "1.5", "99999999999", "yesterday", "2026-11", "2026-13-01", "2026-11-01T12:00:00", "1969-01-01", "../x"} {
		var got Moment
		if err := got.Set(text); err == nil || !strings.Contains(err.Error(), `"`) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, value := range []string{"true", "[1]", "1.5", "2026-11-01T12:00:00", "12:00:00", "{}"} {
		var table map[string]any
		if _, err := toml.Decode("since = "+value, &table); err != nil {
			t.Fatal(err)
		}
		var got Moment
		if err := assign(&got, table["since"]); err == nil {
			t.Errorf("since = %s: %+v", value, got)
		}
	}
}
