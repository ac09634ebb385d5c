"""Views that are not the admin's: for monitoring, and for the site's own pages."""
