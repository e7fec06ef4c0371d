"""What the command line does around `Detector`: folders of results, tables, progress bars. One file a purpose."""
