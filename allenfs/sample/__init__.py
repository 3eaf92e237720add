"""The embedded sample service: answers like the recorded service, with drawn images.

Nothing is imported here, so that only starting the service imports Pillow.
"""
