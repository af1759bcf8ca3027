package kojiprod

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

type catalog struct {
	Tables    map[string]table `json:"tables"`
	Sequences []sequence       `json:"sequences"`
	Functions []struct {
		Def string `json:"def"`
	} `json:"functions"`
}

type table struct {
	Columns []struct {
		Name    string  `json:"name"`
		Type    string  `json:"type"`
		NotNull bool    `json:"not_null"`
		Default *string `json:"default"`
	} `json:"columns"`
	PrimaryKey  *constraint  `json:"primary_key"`
	Unique      []constraint `json:"unique"`
	Check       []constraint `json:"check"`
	ForeignKeys []constraint `json:"foreign_keys"`
	Indexes     []struct {
		Def            string `json:"def"`
		FromConstraint bool   `json:"from_constraint"`
	} `json:"indexes"`
	FreshRows []map[string]any `json:"fresh_rows"`
}

type constraint struct{ Name, Def string }

type sequence struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	LastValue *int64 `json:"last_value"`
	OwnedBy   string `json:"owned_by"`
}

// Tables returns the names of Koji's 68 tables, sorted.
func Tables() []string { return slices.Sorted(maps.Keys(readCatalog().Tables)) }

// SchemaSQL returns SQL that makes Koji's schema with all its constraints, made from Catalog.
// With seeds, the tables hold what a fresh Koji's hold; without, they are empty.
func SchemaSQL(seeds bool) string {
	c := readCatalog()
	names := slices.Sorted(maps.Keys(c.Tables))
	var b strings.Builder
	// get_event() names a table that does not exist yet.
	b.WriteString("SET check_function_bodies = off;\n")
	for _, f := range c.Functions {
		fmt.Fprintf(&b, "%s;\n", strings.TrimSpace(f.Def))
	}
	for _, s := range c.Sequences {
		fmt.Fprintf(&b, "CREATE SEQUENCE %s AS %s;\n", s.Name, s.Type)
	}
	for _, name := range names {
		c.Tables[name].create(&b, name)
	}
	for _, s := range c.Sequences {
		fmt.Fprintf(&b, "ALTER SEQUENCE %s OWNED BY %s;\n", s.Name, s.OwnedBy)
		if seeds && s.LastValue != nil {
			fmt.Fprintf(&b, "SELECT setval('%s', %d);\n", s.Name, *s.LastValue)
		}
	}
	for _, name := range names {
		if seeds {
			c.Tables[name].seed(&b, name)
		}
	}
	for _, name := range names {
		for _, i := range c.Tables[name].Indexes {
			if !i.FromConstraint {
				fmt.Fprintf(&b, "%s;\n", i.Def)
			}
		}
		for _, fk := range c.Tables[name].ForeignKeys {
			fmt.Fprintf(&b, "ALTER TABLE %s ADD CONSTRAINT %s %s;\n", name, fk.Name, fk.Def)
		}
	}
	return b.String()
}

func (t table) create(b *strings.Builder, name string) {
	var parts []string
	for _, col := range t.Columns {
		p := fmt.Sprintf("%q %s", col.Name, col.Type)
		if col.Default != nil {
			p += " DEFAULT " + *col.Default
		}
		if col.NotNull {
			p += " NOT NULL"
		}
		parts = append(parts, p)
	}
	cons := slices.Concat(t.Unique, t.Check)
	if t.PrimaryKey != nil {
		cons = append(cons, *t.PrimaryKey)
	}
	for _, con := range cons {
		parts = append(parts, fmt.Sprintf("CONSTRAINT %q %s", con.Name, con.Def))
	}
	fmt.Fprintf(b, "CREATE TABLE %s (\n\t%s\n);\n", name, strings.Join(parts, ",\n\t"))
}

func (t table) seed(b *strings.Builder, name string) {
	for _, row := range t.FreshRows {
		body, err := json.Marshal(row)
		if err != nil {
			panic(err)
		}
		quoted := strings.ReplaceAll(string(body), "'", "''")
		fmt.Fprintf(b, "INSERT INTO %s SELECT * FROM json_populate_record(NULL::%s, '%s');\n", name, name, quoted)
	}
}

func readCatalog() catalog {
	var c catalog
	if err := json.Unmarshal(Catalog(), &c); err != nil {
		panic(err) // embedded and read by the tests
	}
	return c
}
