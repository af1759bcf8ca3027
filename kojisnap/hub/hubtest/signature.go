package hubtest

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kojisnap/kojisnap/hub/hubtest/python"
)

// signaturesJSON is the answer of a Koji 1.35.3 hub's _listapi without the documentation. It also has the
// name of each method's Python function, which faults show.
//
//go:embed signatures.json
var signaturesJSON string

// signature is how a method may be called.
type signature struct {
	name     string
	python   string
	self     bool // a bound method: Python's complaint about the number of arguments counts self
	args     []any
	argspec  any
	argdesc  string
	params   []param
	varargs  bool
	varkw    bool
	position int // in the hub's list
}

type param struct {
	name     string
	optional bool
	value    any
}

// signatures are the signatures of the recorded hub.
var signatures = sync.OnceValue(func() map[string]*signature { return readSignatures(nil) })

// readSignatures reads the signatures. less says how many last parameters to drop, by method.
func readSignatures(less map[string]int) map[string]*signature {
	v, err := python.ParseJSON(strings.TrimSpace(signaturesJSON))
	if err != nil {
		panic(err) // embedded
	}
	all := map[string]*signature{}
	for i, v := range v.([]any) {
		s := v.(*python.Struct)
		sig := &signature{name: python.AsString(s.Val("name")), python: python.AsString(s.Val("python")), self: python.Truth(s.Val("self")),
			args: s.Val("args").([]any), argspec: s.Val("argspec"), argdesc: python.AsString(s.Val("argdesc")), position: i}
		spec := sig.argspec.([]any)
		if n := less[sig.name]; n > 0 {
			sig.shorten(n)
			spec = sig.argspec.([]any)
		}
		sig.varargs, sig.varkw = spec[1] != nil, spec[2] != nil
		named := len(spec[0].([]any))
		for _, a := range sig.args[:named] {
			if pair, ok := a.([]any); ok {
				sig.params = append(sig.params, param{pair[0].(string), true, pair[1]})
			} else {
				sig.params = append(sig.params, param{name: a.(string)})
			}
		}
		all[sig.name] = sig
	}
	return all
}

// shorten removes the last n parameters of a method. All of its parameters must have defaults.
func (s *signature) shorten(n int) {
	spec := slices.Clone(s.argspec.([]any))
	for _, i := range []int{0, 3} { // names, defaults
		list := spec[i].([]any)
		spec[i] = list[:len(list)-n]
	}
	s.args, s.argspec = s.args[:len(s.args)-n], spec
	described := strings.Split(strings.Trim(s.argdesc, "()"), ", ")
	s.argdesc = "(" + strings.Join(described[:len(described)-n], ", ") + ")"
}

// bind assigns the arguments to the parameters. What Python refuses is raised in Python's words.
func (s *signature) bind(args []any, named *python.Struct) (values map[string]any, rest []any, extra *python.Struct) {
	values, extra = map[string]any{}, &python.Struct{}
	if len(args) > len(s.params) {
		if !s.varargs {
			python.Parameter("%s", s.tooMany(len(args)))
		}
		args, rest = args[:len(s.params)], args[len(s.params):]
	}
	for i, v := range args {
		values[s.params[i].name] = v
	}
	for i, key := range named.Keys {
		known := false
		for _, p := range s.params {
			known = known || p.name == key
		}
		_, twice := values[key]
		switch {
		case !known && !s.varkw:
			python.Parameter("%s() got an unexpected keyword argument '%s'", s.python, key)
		case !known:
			extra.Set(key, named.Vals[i])
		case twice:
			python.Parameter("%s() got multiple values for argument '%s'", s.python, key)
		default:
			values[key] = named.Vals[i]
		}
	}
	var missing []string
	for _, p := range s.params {
		if _, ok := values[p.name]; ok {
			continue
		}
		if !p.optional {
			missing = append(missing, "'"+p.name+"'")
		}
		values[p.name] = p.value
	}
	if len(missing) > 0 {
		python.Parameter("%s", s.missing(missing))
	}
	return values, rest, extra
}

func (s *signature) tooMany(given int) string {
	self := 0
	if s.self {
		self = 1
	}
	required := 0
	for _, p := range s.params {
		if !p.optional {
			required++
		}
	}
	takes := fmt.Sprint(len(s.params) + self)
	if required < len(s.params) {
		takes = fmt.Sprintf("from %d to %d", required+self, len(s.params)+self)
	}
	plural, were := "s", "were"
	if takes == "1" {
		plural = ""
	}
	if given+self == 1 {
		were = "was"
	}
	return fmt.Sprintf("%s() takes %s positional argument%s but %d %s given", s.python, takes, plural, given+self, were)
}

func (s *signature) missing(names []string) string {
	plural, list := "s", ""
	switch n := len(names); n {
	case 1:
		plural, list = "", names[0]
	case 2:
		list = names[0] + " and " + names[1]
	default:
		list = strings.Join(names[:n-1], ", ") + ", and " + names[n-1]
	}
	return fmt.Sprintf("%s() missing %d required positional argument%s: %s", s.python, len(names), plural, list)
}

// decodeArgs splits the params of a call into positional and named arguments. The named ones are a last
// struct with __starstar.
func decodeArgs(params []any) ([]any, *python.Struct) {
	if n := len(params); n > 0 {
		if last, ok := params[n-1].(*python.Struct); ok && python.Truth(last.Val("__starstar")) {
			named := last.Clone()
			named.Delete("__starstar")
			return params[:n-1], named
		}
	}
	return params, &python.Struct{}
}

// The recorded hub calls itself 1.35.3, but was built from later sources. The following differences to the
// release of that version were found by comparing _listapi and the answers to the recorded requests with a
// hub of the release. The release also answers malformed or too long requests with fault 1 instead of HTTP
// 400; that is not imitated.

// releasedSignatures lack listBuilds(promotedBefore, promotedAfter, promoter).
var releasedSignatures = sync.OnceValue(func() map[string]*signature { return readSignatures(map[string]int{"listBuilds": 3}) })

func (s *Server) signatures() map[string]*signature {
	if s.opts.Released {
		return releasedSignatures()
	}
	return signatures()
}

// atLeast reports whether the hub is of a release or a later one.
func (s *Server) atLeast(major, minor int) bool {
	var hasMajor, hasMinor int
	_, err := fmt.Sscanf(s.opts.KojiVersion, "%d.%d", &hasMajor, &hasMinor)
	return err != nil || hasMajor > major || hasMajor == major && hasMinor >= minor
}

// historyColumns returns the data columns of a table in queryHistory. The release does not show the arches of
// external repos.
func (s *Server) historyColumns(table string) string {
	columns := versioned[table]
	if s.opts.Released && table == "tag_external_repos" {
		return strings.TrimSuffix(columns, ", arches")
	}
	return columns
}
