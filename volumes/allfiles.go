package volumes

import "slices"

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
