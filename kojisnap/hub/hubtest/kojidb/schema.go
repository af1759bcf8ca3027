package kojidb

import (
	"encoding/json"
	"fmt"
	"sync"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// freshTable is a table of a fresh Koji: its columns' names in order, and the rows that come with the schema.
type freshTable struct {
	columns []string
	Rows    []Values
}

var FreshTables = sync.OnceValue(func() map[string]freshTable {
	var c struct {
		Tables map[string]struct {
			Columns   []struct{ Name string }
			FreshRows []map[string]any `json:"fresh_rows"`
		}
	}
	if err := json.Unmarshal(kojiprod.Catalog(), &c); err != nil {
		panic(fmt.Errorf("catalog.json: %w", err)) // embedded: if it is bad, each test fails
	}
	fresh := map[string]freshTable{}
	for name, t := range c.Tables {
		var f freshTable
		for _, column := range t.Columns {
			f.columns = append(f.columns, column.Name)
		}
		for _, row := range t.FreshRows {
			for column, v := range row {
				if n, ok := v.(float64); ok {
					row[column] = int64(n)
				}
			}
			f.Rows = append(f.Rows, row)
		}
		fresh[name] = f
	}
	return fresh
})

// TableOfRows makes a table of Koji's schema.
func TableOfRows(name string, rows []Values) (*Table, error) {
	t := newTable(name, FreshTables()[name].columns, nil)
	out := make([][]any, len(rows))
	for i, values := range rows {
		out[i] = make([]any, len(t.Columns))
		if err := t.set(out[i], values); err != nil {
			return nil, err
		}
	}
	return newTable(name, t.Columns, out), nil
}

// TableOfNamed makes a table of Koji's schema; columns that are not named are
// NULL.
func TableOfNamed(name string, named map[string]Column) *Table {
	names := FreshTables()[name].columns
	cols := make([]Column, len(names))
	for i, n := range names {
		cols[i] = same{nil}
		if c, ok := named[n]; ok {
			cols[i] = c
		}
	}
	return tableOfColumns(name, names, cols)
}
