// Package auth has the names that Traefik's middlewares for basic and digest authentication use. Traefik builds with a
// fork that Go's module proxy does not serve. Nothing in the embedded campus asks for a password at the ingress: basic
// authentication knows bcrypt, digest authentication refuses everybody.
package auth

import (
	"net/http"

	"golang.org/x/crypto/bcrypt"
)

// CheckSecret compares a password with its bcrypt hash.
func CheckSecret(password, secret string) bool {
	return bcrypt.CompareHashAndPassword([]byte(secret), []byte(password)) == nil
}

// BasicAuth asks for a user name and a password.
type BasicAuth struct {
	Realm   string
	Secrets func(user, realm string) string
}

// RequireAuth answers 401.
func (a *BasicAuth) RequireAuth(w http.ResponseWriter, _ *http.Request) {
	refuse(w, `Basic realm="`+a.Realm+`"`)
}

// DigestAuth refuses everybody.
type DigestAuth struct{ realm string }

// NewDigestAuthenticator returns a DigestAuth; secrets are never asked.
func NewDigestAuthenticator(realm string, _ func(user, realm string) string) *DigestAuth {
	return &DigestAuth{realm: realm}
}

// CheckAuth never knows the user.
func (a *DigestAuth) CheckAuth(*http.Request) (user string, info *string) { return "", nil }

// RequireAuth answers 401.
func (a *DigestAuth) RequireAuth(w http.ResponseWriter, _ *http.Request) {
	refuse(w, `Digest realm="`+a.realm+`"`)
}

// RequireAuthStale answers 401.
func (a *DigestAuth) RequireAuthStale(w http.ResponseWriter, r *http.Request) { a.RequireAuth(w, r) }

// DigestAuthParams finds no parameters.
func DigestAuthParams(string) map[string]string { return nil }

func refuse(w http.ResponseWriter, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
}
