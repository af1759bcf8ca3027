package kojidb

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/hub/hubtest/python"
)

// ColumnTypes returns the types of Koji 1.35's columns, by table and column.
var ColumnTypes = sync.OnceValue(func() map[string]map[string]string {
	types, err := readColumnTypes(kojiprod.Catalog())
	if err != nil {
		panic(err) // embedded: if it is bad, each test of this package fails
	}
	return types
})

func readColumnTypes(catalog []byte) (map[string]map[string]string, error) {
	var c struct {
		Tables map[string]struct {
			Columns []struct{ Name, Type string }
		}
	}
	if err := json.Unmarshal(catalog, &c); err != nil {
		return nil, fmt.Errorf("catalog.json: %w", err)
	}
	types := map[string]map[string]string{}
	for name, table := range c.Tables {
		types[name] = map[string]string{}
		for _, column := range table.Columns {
			types[name][column.Name] = column.Type
		}
	}
	return types, nil
}

// readCopy reads a table from PostgreSQL's COPY text with a header line.
func readCopy(name string, r io.Reader) (*Table, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	var columns []string
	var parse []func(string) (any, error)
	var rows [][]any
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read table %s: %w", name, err)
		}
		fields := bytes.Split(bytes.TrimSuffix(line, []byte("\n")), []byte("\t"))
		if columns == nil {
			for _, f := range fields {
				columns = append(columns, unescapeCopy(f))
				parse = append(parse, parserOf(ColumnTypes()[name][string(f)]))
			}
			continue
		}
		if len(fields) != len(columns) {
			return nil, fmt.Errorf("table %s, line %d: %d fields, want %d", name, n, len(fields), len(columns))
		}
		row := make([]any, len(fields))
		for i, f := range fields {
			if string(f) == `\N` {
				continue
			}
			if row[i], err = parse[i](unescapeCopy(f)); err != nil {
				return nil, fmt.Errorf("table %s, line %d, column %s: %w", name, n, columns[i], err)
			}
		}
		rows = append(rows, row)
	}
	return newTable(name, columns, rows), nil
}

// parserOf returns the function that parses a column's text. A column that Koji 1.35 does not have stays
// text: no method reads it.
func parserOf(sqlType string) func(string) (any, error) {
	switch {
	case sqlType == "integer" || sqlType == "bigint" || sqlType == "smallint":
		return func(s string) (any, error) { return strconv.ParseInt(s, 10, 64) }
	case sqlType == "boolean":
		return func(s string) (any, error) { return s == "t", nil }
	case sqlType == "double precision" || sqlType == "real" || strings.HasPrefix(sqlType, "numeric"):
		return func(s string) (any, error) { return strconv.ParseFloat(s, 64) }
	case strings.HasPrefix(sqlType, "timestamp"):
		return ParseTime
	case sqlType == "jsonb" || sqlType == "json":
		return python.ParseJSON
	}
	intern := map[string]any{} // arches, versions and names repeat
	return func(s string) (any, error) {
		if len(s) > 24 {
			return s, nil
		}
		v, ok := intern[s]
		if !ok {
			v = s
			intern[s] = v
		}
		return v, nil
	}
}

func ParseTime(s string) (any, error) {
	switch s {
	case "infinity":
		return python.Infinity, nil
	case "-infinity":
		return python.NegInfinity, nil
	}
	s, beforeChrist := strings.CutSuffix(s, " BC")
	year, rest, _ := strings.Cut(s, "-")
	if n, err := strconv.Atoi(year); err == nil && (beforeChrist || n > 9999) {
		return parseFarTime(n, beforeChrist, rest)
	}
	for _, layout := range []string{"2006-01-02 15:04:05-07", "2006-01-02 15:04:05-07:00", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return python.Time(t.UnixMicro()), nil
		}
	}
	return nil, fmt.Errorf("invalid timestamp %q", s)
}

// timeText returns the time as PostgreSQL prints it in UTC.
func timeText(t python.Time) string {
	u := time.UnixMicro(int64(t)).UTC()
	year, era := u.Year(), ""
	switch {
	case t == python.Infinity:
		return "infinity"
	case t == python.NegInfinity:
		return "-infinity"
	case year < 1:
		year, era = 1-year, " BC"
	}
	return fmt.Sprintf("%04d", year) + u.Format("-01-02 15:04:05.999999+00") + era
}

// parseFarTime parses a time in a year that package time cannot parse with four digits: it parses it in the
// year 2000, a leap year, and then changes the year.
func parseFarTime(year int, beforeChrist bool, rest string) (any, error) {
	v, err := ParseTime("2000-" + rest)
	if err != nil {
		return nil, err
	}
	if beforeChrist {
		year = 1 - year
	}
	t := time.UnixMicro(int64(v.(python.Time))).UTC()
	return python.Time(time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC).UnixMicro()), nil
}

// unescapeCopy undoes the backslashes of COPY's text format.
func unescapeCopy(f []byte) string {
	if bytes.IndexByte(f, '\\') < 0 {
		return string(f)
	}
	out := make([]byte, 0, len(f))
	for i := 0; i < len(f); i++ {
		if f[i] != '\\' || i+1 == len(f) {
			out = append(out, f[i])
			continue
		}
		i++
		if at := strings.IndexByte("bfnrtv", f[i]); at >= 0 {
			out = append(out, "\b\f\n\r\t\v"[at])
		} else {
			out = append(out, f[i])
		}
	}
	return string(out)
}
