package tagglob_test

import (
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/tagglob"
)

// tags of a hub.
var tags = []string{"F42-Old", "eln", "f42", "f42-infra", "f42-infra-build", "f4[2]", "f_2", "module-nodejs-20", "über-42", `back\slash`, "100%", "a\nb"}

// TestHas: the hub's rules, with what is left out as a set.
func TestHas(t *testing.T) {
	for _, test := range []struct {
		list string
		want []string
	}{
		{"", nil},
		{"f42", []string{"f42"}},
		{"F42", nil}, // a name is a name
		{"f42*", []string{"F42-Old", "f42", "f42-infra", "f42-infra-build"}},
		{"F42-O*", []string{"F42-Old"}},
		{"f42-o??", []string{"F42-Old"}},
		{"f42-o?", nil},
		{"f?2", []string{"f42", "f_2"}},
		{"f_?", []string{"f_2"}}, // not SQL's
		{"f%*", nil},
		{"*%", []string{"100%"}},
		{"f4[2]", []string{"f4[2]"}},
		{"f4[2*", []string{"f4[2]"}}, // not fnmatch's
		{"f4[23]*", nil},
		{"?ber*", []string{"über-42"}},
		{"ÜBER*", []string{"über-42"}},
		{`*\s*`, []string{`back\slash`}},
		{"a?b", []string{"a\nb"}},
		{"*", tags},
		{"f42* !f42-infra", []string{"F42-Old", "f42", "f42-infra-build"}},
		{"f42* !f42-infra*", []string{"F42-Old", "f42"}},
		{"!f42-infra* f42*", []string{"F42-Old", "f42"}},
		{"f42* !F42", []string{"F42-Old", "f42", "f42-infra", "f42-infra-build"}},
		{"f42* !F42*", nil},
		{"f42 eln !f42*", []string{"eln"}}, // names are left out, too
		{"f42 !eln", []string{"f42"}},
		{"* !*-* !f* !a?b", []string{"100%", `back\slash`, "eln"}},
	} {
		var list []string
		if test.list != "" {
			list = strings.Split(test.list, " ")
		}
		s, err := tagglob.Parse(list)
		if err != nil {
			t.Errorf("%q: %v", test.list, err)
			continue
		}
		got := slices.DeleteFunc(slices.Clone(tags), func(n string) bool { return !s.Has(n) })
		slices.Sort(got)
		want := slices.Sorted(slices.Values(test.want))
		if !slices.Equal(got, want) {
			t.Errorf("%q: has %q, want %q", test.list, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, list := range [][]string{{""}, {"f42", ""}, {"!"}, {"f42", "!"}, {"!f42"}, {"!f42*", "!a"}, {"f\x0042"}, {"f42\n"}, {"!\x1b[2J"}, {"\xff"}, {"f*\u0085"}} {
		if s, err := tagglob.Parse(list); err == nil {
			t.Errorf("%q is taken: %+v", list, s)
		} else if strings.ContainsAny(err.Error(), "\x00\n\x1b") {
			t.Errorf("%q: the error breaks the line: %q", list, err)
		}
	}
	s, err := tagglob.Parse([]string{"z*", "f42", "a?", "!f42", "eln", "z*"})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.List(); !slices.Equal(got, []string{"!f42", "a?", "eln", "f42", "z*"}) {
		t.Errorf("list %q", got)
	}
	if s.IsNames() || !slices.Equal(s.Names(), []string{"eln"}) || !slices.Equal(s.Patterns(), []string{"a?", "z*"}) {
		t.Errorf("names %q, patterns %q", s.Names(), s.Patterns())
	}
	if got := s.Unmatched([]string{"Zoo", "abc"}); !slices.Equal(got, []string{"a?"}) {
		t.Errorf("unmatched %q", got)
	}
	if s, err := tagglob.Parse([]string{"f42", "f41"}); err != nil || !s.IsNames() {
		t.Errorf("names alone: %+v, %v", s, err)
	}
	if s, err := tagglob.Parse(nil); err != nil || !s.IsNames() || s.Has("") {
		t.Errorf("nothing: %+v, %v", s, err)
	}
}
