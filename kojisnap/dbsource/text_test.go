package dbsource

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// TestParseCopyLine: every escape that PostgreSQL's COPY writes or reads, and what ends a line wrongly.
func TestParseCopyLine(t *testing.T) {
	for line, want := range map[string][]string{
		"a\tb":                            {"a", "b"},
		"":                                {""},
		"\t":                              {"", ""},
		`\N` + "\t" + `\\N` + "\tN":       {"NULL", `\N`, "N"},
		`\b\f\n\r\t\v\\`:                  {"\b\f\n\r\t\v\\"},
		`\101\1012\x41\x4g\x\7`:           {"AA2A\x04gx\a"},
		`x\Ny`:                            {"xNy"},
		`\.`:                              {"."},
		"ü\t漢字😀":                          {"ü", "漢字😀"},
		`{"a": "\\u00fc \\"q\\""}` + "\t": {`{"a": "\u00fc \"q\""}`, ""},
	} {
		row, err := ParseCopyLine([]byte(line), nil)
		var got []string
		for _, f := range row {
			if f == nil {
				f = []byte("NULL")
			}
			got = append(got, string(f))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", line, got, err, want)
		}
	}
	if _, err := ParseCopyLine([]byte(`a\`), nil); err == nil {
		t.Error("a backslash ends the line, and nobody minds")
	}
	row, err := ParseCopyLine(nil, nil)
	if err != nil || len(row) != 1 || row[0] == nil {
		t.Errorf("an empty line is one empty text, not %v, %v", row, err)
	}
}

// FuzzParseCopyLine: what a snapshot's own lines hold is read as their own reader reads it.
func FuzzParseCopyLine(f *testing.F) {
	f.Add([]byte("a\\tb"), []byte(nil))
	f.Add([]byte("\\N"), []byte("\n\\"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		line := snapfile.AppendLine(nil, [][]byte{a, nil, b, {}})
		line = line[:len(line)-1]
		want, err := snapfile.ParseLine(bytes.Clone(line), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseCopyLine(bytes.Clone(line), nil)
		if err != nil || !slices.EqualFunc(got, want, func(x, y []byte) bool { return bytes.Equal(x, y) && (x == nil) == (y == nil) }) {
			t.Errorf("%q: %q, %v; want %q", line, got, err, want)
		}
	})
}

// TestTimes: times in any zone become those of UTC, as a snapshot has them.
func TestTimes(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-21 00:46:40.248079+00":    "2026-11-21 00:46:40.248079+00",
		"2026-11-21 06:31:40.248079+05:45": "2026-11-21 00:46:40.248079+00",
		"2026-11-20 19:46:40.5-05":         "2026-11-21 00:46:40.5+00",
		"2026-11-21 00:46:40.248079":       "2026-11-21 00:46:40.248079+00",
		"2024-02-29 23:30:00-01":           "2024-03-01 00:30:00+00",
		"1900-01-01 00:19:32+00:19:32":     "1900-01-01 00:00:00+00",
		"0044-03-15 00:00:00+00 BC":        "0044-03-15 00:00:00+00 BC",
		"0044-03-15 01:00:00+01 BC":        "0044-03-15 00:00:00+00 BC",
		"0044-03-15 00:00:00 BC":           "0044-03-15 00:00:00+00 BC",
		"infinity":                         "infinity",
		"-infinity":                        "-infinity",
	} {
		if got, err := appendUTC(nil, []byte(text)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "now", "21.11.2026 00:46:40 UTC", "2026-11-21 00:46:40+x", "2026-13-21 00:46:40+01"} {
		if got, err := appendUTC(nil, []byte(text)); err == nil {
			t.Errorf("%q is no time in DateStyle ISO: %s", text, got)
		}
	}
}

// FuzzParseUTC: times of events are read as package time reads them.
func FuzzParseUTC(f *testing.F) {
	for _, text := range []string{"2026-11-21 00:46:40+00", "2026-11-21 00:46:40.5+00", "2026-11-21 00:46:40.248079+00", "2024-02-29 23:59:59.000001+00", "2026-02-29 00:00:00+00",
		"2026-11-21 24:00:00+00", "2026-00-21 00:00:00+00", "2026-11-21 00:46:40.+00", "2026-11-21 00:46:40.1234567+00", "2026-11-21 00:46:40+01", "2026-11-21T00:46:40+00", "10000-01-01 00:00:00+00",
		"infinity", "", "2026-11-21 0:046:40+00", "2026-11-21 00:46:60+00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, wrong := time.Parse("2006-01-02 15:04:05.999999-07", text)
		got, err := parseUTC([]byte(text))
		if (err != nil) != (wrong != nil) || err == nil && (!got.Equal(want) || got.Location() != time.UTC) {
			t.Errorf("%q: %s, %v; package time reads %s, %v", text, got, err, want, wrong)
		}
	})
}

// TestClassify: each table of the catalogue is wanted, and no table with secrets is.
func TestClassify(t *testing.T) {
	for _, rel := range relation.All() {
		if Classify(rel.Name) != Wanted || len(WantedColumns(rel.Name)) != len(rel.Columns) {
			t.Errorf("%s: %s", rel.Name, Classify(rel.Name))
		}
	}
	for table, want := range map[string]Class{"sessions": Refused, "user_krb_principals": Refused, "build_reservations": Refused, "task": Ignored, "scheduler_task_runs": Ignored, "plugin": Unknown} {
		if got := Classify(table); got != want || WantedColumns(table) != nil {
			t.Errorf("%s: %s, want %s", table, got, want)
		}
	}
	if slices.Contains(WantedColumns("users"), "password") {
		t.Error("passwords are wanted")
	}
}
