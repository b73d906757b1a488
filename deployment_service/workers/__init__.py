"""What runs by itself: dispatcher, reconciler, retention."""
