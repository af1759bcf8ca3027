package relation_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/relation"
)

type catalog struct {
	Tables map[string]struct {
		Columns []struct {
			Name    string
			Type    string
			NotNull bool `json:"not_null"`
		}
		PrimaryKey  *struct{ Columns []string } `json:"primary_key"`
		Unique      []struct{ Columns []string }
		ForeignKeys []struct {
			Columns    []string
			RefTable   string   `json:"ref_table"`
			RefColumns []string `json:"ref_columns"`
			Def        string
		} `json:"foreign_keys"`
	}
}

// TestAgainstSchema holds every relation to the schema of a real Koji 1.35.
func TestAgainstSchema(t *testing.T) {
	var c catalog
	if err := json.Unmarshal(kojiprod.Catalog(), &c); err != nil {
		t.Fatal(err)
	}
	types := map[string]relation.Type{
		"smallint": relation.Int2, "integer": relation.Int4, "bigint": relation.Int8, "boolean": relation.Bool,
		"text": relation.Text, "timestamp with time zone": relation.Time,
	}
	// What a snapshot must not hold (promise 6).
	secret := map[string][]string{"users": {"password"}}
	for _, r := range slices.Concat(relation.All(), relation.Optional()) {
		table, ok := c.Tables[r.Name]
		if !ok {
			t.Errorf("%s: not a table of Koji", r.Name)
			continue
		}
		i := 0
		for _, col := range table.Columns {
			if slices.Contains(secret[r.Name], col.Name) {
				if r.Index(col.Name) >= 0 {
					t.Errorf("%s.%s is secret", r.Name, col.Name)
				}
				continue
			}
			typ, _, _ := strings.Cut(col.Type, "(")
			if typ == "character varying" {
				typ = "text"
			}
			if i >= len(r.Columns) {
				t.Errorf("%s.%s is missing", r.Name, col.Name)
				continue
			}
			got := r.Columns[i]
			i++
			if got.Name != col.Name || got.Type != types[typ] || got.Null == col.NotNull {
				t.Errorf("%s: got column %+v, the schema has %+v", r.Name, got, col)
			}
		}
		var uniques [][]string
		for _, u := range table.Unique {
			uniques = append(uniques, u.Columns)
		}
		if table.PrimaryKey != nil {
			if !reflect.DeepEqual(r.Key, table.PrimaryKey.Columns) {
				t.Errorf("%s: key %v, the schema's is %v", r.Name, r.Key, table.PrimaryKey.Columns)
			}
		} else if !slices.ContainsFunc(uniques, func(u []string) bool { return reflect.DeepEqual(u, r.Key) }) {
			t.Errorf("%s: key %v is not unique in the schema", r.Name, r.Key)
		}
		for _, u := range r.Unique {
			if !slices.ContainsFunc(uniques, func(s []string) bool { return reflect.DeepEqual(u, s) }) {
				t.Errorf("%s: %v is not unique in the schema", r.Name, u)
			}
		}
		for _, fk := range table.ForeignKeys {
			column := strings.TrimSuffix(strings.TrimPrefix(strings.Split(fk.Def, " REFERENCES ")[0], "FOREIGN KEY ("), ")")
			column, _, _ = strings.Cut(column, ",")
			to, _, _ := strings.Cut(strings.Split(fk.Def, " REFERENCES ")[1], "(")
			got := r.Columns[r.Index(column)]
			if want := relation.Get(to); (want == nil) != got.External || (want != nil && got.Ref != to) {
				t.Errorf("%s.%s refers to %q, the schema says %q", r.Name, column, got.Ref, to)
			}
		}
	}
}

func TestParentsFirst(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range slices.Concat(relation.All(), relation.Optional()) {
		seen[r.Name] = true
		for _, c := range r.Columns {
			if c.Ref != "" && !seen[c.Ref] {
				t.Errorf("%s.%s refers to %s, which comes later", r.Name, c.Name, c.Ref)
			}
		}
	}
}
