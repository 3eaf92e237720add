"""The embedded sample service: answers as the recorded service does, and draws.

Nothing is imported here, so that only those who start the service pay for Pillow.
"""
