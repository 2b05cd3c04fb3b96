"""What any such service needs: it knows no user and no route."""
