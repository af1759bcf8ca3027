package kojidb

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/python"
)

var copyEscaper = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

// writeCopy writes a table as readCopy reads it.
func (t *Table) writeCopy(w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<16)
	out.WriteString(strings.Join(t.Columns, "\t"))
	out.WriteByte('\n')
	columns := make([]func(int32) any, len(t.Columns))
	isJSON := make([]bool, len(t.Columns))
	for i, name := range t.Columns {
		columns[i] = t.Get(i)
		isJSON[i] = strings.HasPrefix(ColumnTypes()[t.Name][name], "json")
	}
	for n := range t.Size() {
		if !t.Has(n) {
			continue
		}
		for i, column := range columns {
			if i > 0 {
				out.WriteByte('\t')
			}
			text, err := copyField(column(n), isJSON[i])
			if err != nil {
				return fmt.Errorf("write table %s, column %s: %w", t.Name, t.Columns[i], err)
			}
			out.WriteString(text)
		}
		out.WriteByte('\n')
	}
	return out.Flush()
}

func copyField(v any, isJSON bool) (string, error) {
	if v != nil && isJSON {
		var b strings.Builder
		if err := python.WriteJSON(&b, v); err != nil {
			return "", err
		}
		return copyEscaper.Replace(b.String()), nil
	}
	switch v := v.(type) {
	case nil:
		return `\N`, nil
	case bool:
		return strconv.FormatBool(v)[:1], nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case string:
		return copyEscaper.Replace(v), nil
	case python.Time:
		return timeText(v), nil
	}
	return "", fmt.Errorf("no column holds a %T", v)
}
