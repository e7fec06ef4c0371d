"""Pictures and tables of OCT scans."""
