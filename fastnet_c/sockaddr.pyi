# Nothing of this module is for Python; fastnet_c.testing opens it up for tests.
