package volumes

import "slices"

// SigPath is where the cached signature header of an rpm is.
func SigPath(r RPM, sigkey string) (string, error) {
	path, err := r.Path()
	if err != nil {
		return "", err
	}
	return sigPath(path, sigkey)
}

// Bytes is the size of all planned files as far as the database knows it.
func (p Plan) Bytes() (n int64) {
	for _, b := range p.Staged {
		for _, f := range b.Files {
			n += max(f.Size, 0)
		}
	}
	return n
}

// WithoutRows returns the plan as it is after it was written to a file and read.
func (p Plan) WithoutRows() Plan {
	p.Staged = slices.Clone(p.Staged)
	for i := range p.Staged {
		p.Staged[i].rows = nil
	}
	return p
}
