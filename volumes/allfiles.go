package volumes

import (
	"slices"
	"strings"
)

// AllFiles returns the files of all rows of the build, sorted by path: of each arch and type, signed by each key and
// unsigned, whether wanted or not. ok is false if a row has no usable path or digest, or if the rows are not known:
// a plan that was decoded does not have them.
func (s *StagedBuild) AllFiles() (files []File, ok bool) {
	if s.rows == nil {
		return nil, false
	}
	want := Want{SigKeys: []string{""}}
	for i := range s.rows.RPMs {
		for _, sig := range s.rows.RPMs[i].Sigs {
			if !slices.Contains(want.SigKeys, sig.Key) {
				want.SigKeys = append(want.SigKeys, sig.Key)
			}
		}
	}
	all, err := newWanted(want).build(*s.rows)
	return all.Files, err == nil
}

// Signatures returns a function that reports whether a path is where a signed copy or a signature header of a row is.
// It is faster than AllFiles, and leaves out rows that have no usable path.
func (s *StagedBuild) Signatures() func(path string) bool {
	if s.rows == nil {
		return func(string) bool { return false }
	}
	sigs := make(map[string][]Signature, len(s.rows.RPMs)) // by the rpm's path
	for i := range s.rows.RPMs {
		r := &s.rows.RPMs[i]
		if path, err := r.Path(); err == nil && !r.MetadataOnly {
			sigs[path] = r.Sigs
		}
	}
	return func(path string) bool {
		below, isCopy := strings.CutPrefix(path, "data/signed/")
		if !isCopy {
			header, inCache := strings.CutPrefix(path, "data/sigcache/")
			rpm, isHeader := strings.CutSuffix(header, ".sig")
			if !inCache || !isHeader {
				return false
			}
			if below = rpm; strings.Count(rpm, "/") == 1 {
				below = "/" + rpm // of no key: the unsigned rpm's own
			}
		}
		key, rpm, _ := strings.Cut(below, "/")
		return !(isCopy && key == "") && slices.ContainsFunc(sigs[rpm], func(sig Signature) bool { return strings.EqualFold(sig.Key, key) })
	}
}
