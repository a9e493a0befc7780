// Package ext is empty, as in the open edition of Traefik, whose module lacks it because it is a module of its own there.
package ext

// HTTP extends the dynamic configuration of HTTP.
type HTTP struct{}

// Router extends a router's.
type Router struct{}
