package app

import (
	"errors"
	"fmt"
	"net/url"
)

func (c *Config) validatePort() error {
	if c.PortBaseURL == "" {
		return nil // the variables of the client may be there for others
	}
	u, err := url.Parse(c.PortBaseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("--port-base-url %q is not a URL such as https://api.getport.io", c.PortBaseURL)
	}
	if c.PortClientID == "" || c.PortClientSecret == "" {
		return errors.New("--port-base-url needs PORT_CLIENT_ID and PORT_CLIENT_SECRET; leave all three out to write to the catalog in here")
	}
	return nil
}
