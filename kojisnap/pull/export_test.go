package pull

import "kojisnap/kojisnap/pull/pager"

// WithPager sets how rows are read.
func (o Options) WithPager(p pager.Options) Options {
	o.pager = p
	return o
}
