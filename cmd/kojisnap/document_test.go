package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/cmd/kojisnap/jsondoc"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/bundle"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/report"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/verify"
	"kojisnap/volumes/clone"
)

// documents is what the commands print, by the headings of JSON.md.
var documents = map[string]reflect.Type{
	"pull":         reflect.TypeFor[pull.Result](),
	"init":         reflect.TypeFor[setup.Report](),
	"load":         reflect.TypeFor[book.LoadReport](),
	"copy":         reflect.TypeFor[kojisnap.CopyResult](),
	"copy all":     reflect.TypeFor[kojisnap.ShardsResult](),
	"clone":        reflect.TypeFor[cloneResult](),
	"clones":       reflect.TypeFor[clonesResult](),
	"discard":      reflect.TypeFor[clone.Discarded](),
	"link":         reflect.TypeFor[linkResult](),
	"verify":       reflect.TypeFor[verify.Result](),
	"sync":         reflect.TypeFor[kojisnap.SyncResult](),
	"doctor":       reflect.TypeFor[diagnosis](),
	"config":       reflect.TypeFor[configResult](),
	"keygen":       reflect.TypeFor[keyFiles](),
	"snapshots":    reflect.TypeFor[snapshotsResult](),
	"show":         reflect.TypeFor[showResult](),
	"diff":         reflect.TypeFor[repository.DiffResult](),
	"diff staging": reflect.TypeFor[stagingDiff](),
	"diff --rows":  reflect.TypeFor[rowsResult](),
	"bundle":       reflect.TypeFor[bundleResult](),
	"unbundle":     reflect.TypeFor[bundle.Result](),
	"prune":        reflect.TypeFor[repository.PruneResult](),
	"report":       reflect.TypeFor[report.Facts](),
	"status":       reflect.TypeFor[kojisnap.StagingStatus](),
	"status --all": reflect.TypeFor[allStatus](),
}

// field is a field of a struct as its JSON has it.
type field struct {
	name, goName string
	owner        reflect.Type // the struct that declares it
	typ          reflect.Type
	optional     bool
}

// fieldsOf are the fields of a struct's JSON, those of embedded structs as its own.
func fieldsOf(t reflect.Type) (all []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag == "":
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			all = append(all, fieldsOf(inner)...)
		case tag != "-" && f.IsExported():
			if tag == "" {
				tag = f.Name
			}
			all = append(all, field{tag, f.Name, t, f.Type, strings.Contains(options, "omit")})
		}
	}
	if t == reflect.TypeFor[verify.Result]() { // its MarshalJSON adds these
		for _, name := range []string{"ready", "digest_mismatch"} {
			all = append(all, field{name: name, owner: t, typ: reflect.TypeFor[bool]()})
		}
	}
	return all
}

// TestDocumented: JSON.md has every field that a command can print, with its type, and no other.
func TestDocumented(t *testing.T) {
	doc, err := jsondoc.Read("JSON.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, cmd := range commands() {
		names = append(names, cmd.name)
	}
	for name := range documents {
		if !slices.Contains(names, strings.Fields(name)[0]) {
			t.Errorf("%q is no command", name)
		}
	}
	for _, name := range names {
		if documents[name] == nil {
			t.Errorf("what is the document of %s?", name)
		}
	}
	seen := map[string]bool{"What `--json` prints": true, "Types": true}
	var check func(section string, result reflect.Type)
	check = func(section string, result reflect.Type) {
		if seen[section] {
			return
		}
		seen[section] = true
		documented := map[string]jsondoc.Field{}
		for _, f := range doc[section] {
			documented[f.Name] = f
		}
		if len(documented) != len(doc[section]) {
			t.Errorf("%s: a field is there twice", section)
		}
		for _, f := range fieldsOf(result) {
			kind, inner := typeOf(f.typ, f.owner)
			have, ok := documented[f.name]
			delete(documented, f.name)
			switch number := strings.HasSuffix(kind, "integer") || strings.HasSuffix(kind, "number"); {
			case !ok:
				t.Errorf("%s: %q, %s, is not documented", section, f.name, kind)
			case have.Type != kind || have.Always == f.optional:
				t.Errorf("%s: %q is %s, optional %v; documented is %+v", section, f.name, kind, f.optional, have)
			case number != (have.Unit != ""):
				t.Errorf("%s: the unit of %q is %q", section, f.name, have.Unit)
			}
			if slices.Contains([]string{"format", "error", "exit"}, f.name) && documents[section] != nil {
				t.Errorf("%s: %q is the document's own", section, f.name)
			}
			if inner != nil {
				check(inner.Name(), inner)
			}
		}
		for name := range documented {
			t.Errorf("%s: there is no field %q", section, name)
		}
	}
	for name, result := range documents {
		check(name, result)
	}
	for section := range doc {
		if !seen[section] {
			t.Errorf("nothing prints what %q describes", section)
		}
	}
}

// typeOf is a type as JSON.md has it, and the struct that it is of, if that has a section of its own.
func typeOf(t, owner reflect.Type) (string, reflect.Type) {
	switch t {
	case reflect.TypeFor[time.Time]():
		return "time", nil
	case reflect.TypeFor[*snapfile.Manifest]():
		return "object", nil
	case reflect.TypeFor[json.RawMessage]():
		if owner == reflect.TypeFor[book.SyncRun]() {
			t = reflect.TypeFor[kojisnap.SyncReport]()
		}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeOf(t.Elem(), owner)
	case reflect.Struct:
		for command, result := range documents {
			if result == t {
				return fmt.Sprintf("[%s](#%s)", command, strings.ReplaceAll(command, " ", "-")), nil
			}
		}
		return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(t.Name())), t
	case reflect.Slice, reflect.Map:
		name, inner := typeOf(t.Elem(), owner)
		if t.Kind() == reflect.Map {
			return "map of " + name, inner
		}
		return "array of " + name, inner
	case reflect.String:
		return "string", nil
	case reflect.Bool:
		return "boolean", nil
	case reflect.Float64, reflect.Float32:
		return "number", nil
	case reflect.Int, reflect.Int64, reflect.Uint32:
		return "integer", nil
	}
	return t.String(), nil
}
