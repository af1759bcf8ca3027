// Package python has the values in a hub's calls and replies as Python sees them: structs that keep the order
// of their members, truth, repr and str, JSON, times, regular expressions; and the exceptions that become
// faults. It raises a fault by a panic with a *Fault; see Catch.
package python
