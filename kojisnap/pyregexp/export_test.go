package pyregexp

import "time"

// Spend makes r behave as if its matches had taken d longer.
func (r *Regexp) Spend(d time.Duration) { r.spent.Add(int64(d)) }
