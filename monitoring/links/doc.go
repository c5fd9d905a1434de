// Package links checks, in its test, that the repository's pages lead where they say.
package links
