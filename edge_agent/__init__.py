"""The personal health gateway: everything at home that touches radio, disk or network."""
